#include "train/tensors.h"

#include <algorithm>
#include <cmath>

namespace octet {
namespace {

/// first[i]: number of chunks before tensor i; the last entry is their total.
std::vector<int64_t> ChunkStarts(std::span<const TrainedTensor> tensors,
                                 std::span<const int64_t> sizes) {
  std::vector<int64_t> first = {0};
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto values = static_cast<int64_t>(tensors[i].weight.size());
    first.push_back(first.back() + (values + sizes[i] - 1) / sizes[i]);
  }
  return first;
}

std::vector<int64_t> UsualSizes(std::span<const TrainedTensor> tensors) {
  return std::vector<int64_t>(tensors.size(), kTensorChunk);
}

}  // namespace

std::vector<TrainedTensor> AllTensors(Parameters& weights, Parameters& grads) {
  std::vector<TrainedTensor> tensors;
  for (size_t i = 0; i < weights.tensors().size(); ++i) {
    const Parameters::Tensor& tensor = weights.tensors()[i];
    const TensorSpec& spec = tensor.spec;
    const bool vector = spec.shape.size() == 1, router = spec.role == TensorRole::kRouter;
    const bool matrix = spec.layer >= 0 && !vector && !router;
    tensors.push_back({tensor.name, weights.Of(tensor), grads.Of(grads.tensors()[i]), vector,
                       router, matrix ? spec.shape[0] : 0, matrix ? spec.shape[1] : 0});
  }
  return tensors;
}

void ForEachChunk(std::span<const TrainedTensor> tensors, ThreadPool& pool,
                  FunctionRef<void(size_t, int64_t, int64_t)> fn) {
  ForEachChunk(tensors, UsualSizes(tensors), pool, fn);
}

void ForEachChunk(std::span<const TrainedTensor> tensors, std::span<const int64_t> sizes,
                  ThreadPool& pool, FunctionRef<void(size_t, int64_t, int64_t)> fn) {
  const std::vector<int64_t> starts = ChunkStarts(tensors, sizes);
  pool.ParallelFor(starts.back(), [&](int64_t chunk, int) {
    const auto at = std::upper_bound(starts.begin(), starts.end(), chunk) - 1;
    const auto tensor = static_cast<size_t>(at - starts.begin());
    const int64_t first = (chunk - *at) * sizes[tensor];
    const auto values = static_cast<int64_t>(tensors[tensor].weight.size());
    fn(tensor, first, std::min(sizes[tensor], values - first));
  });
}

double GradientNorm(std::span<const TrainedTensor> tensors, Context& context) {
  const std::vector<int64_t> starts = ChunkStarts(tensors, UsualSizes(tensors));
  std::vector<double> sums(static_cast<size_t>(starts.back()));
  ForEachChunk(tensors, context.pool, [&](size_t tensor, int64_t first, int64_t count) {
    double& sum = sums[static_cast<size_t>(starts[tensor] + first / kTensorChunk)];
    const float* grad = tensors[tensor].grad.data() + first;
    context.kernels.dot->dot({grad, grad, count, &sum});
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

void ZeroGradients(std::span<const TrainedTensor> tensors, ThreadPool& pool) {
  ForEachChunk(tensors, pool, [&](size_t tensor, int64_t first, int64_t count) {
    std::fill_n(tensors[tensor].grad.begin() + first, count, 0.0f);
  });
}

}  // namespace octet
