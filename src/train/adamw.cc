#include "train/adamw.h"

#include <cmath>
#include <utility>

namespace octet {
namespace {

/// Where each tensor begins in a buffer of all, and the total at the end.
std::vector<int64_t> Offsets(const std::vector<TrainedTensor>& tensors) {
  std::vector<int64_t> offsets = {0};
  for (const TrainedTensor& tensor : tensors)
    offsets.push_back(offsets.back() + static_cast<int64_t>(tensor.weight.size()));
  return offsets;
}

/// Which of the tiles' matrices a tensor is, and how many of its values are one thread's at once.
struct Split {
  std::vector<int64_t> matrix;  // or -1
  std::vector<int64_t> size;
};
Split SplitOf(const std::vector<TrainedTensor>& tensors, const ModelTiles* tiles) {
  Split split;
  for (const TrainedTensor& tensor : tensors) {
    const int64_t matrix = tiles == nullptr ? -1 : tiles->Find(tensor.weight.data());
    split.matrix.push_back(matrix);
    // Rows that fill a tile's depth.
    split.size.push_back(matrix < 0 ? kTensorChunk : kTileDepth * tiles->Columns(matrix));
  }
  return split;
}

}  // namespace

Result<AdamW> AdamW::Create(std::vector<TrainedTensor> tensors, const AdamWOptions& options) {
  AdamW optimizer;
  optimizer.offset_ = Offsets(tensors);
  optimizer.tensors_ = std::move(tensors);
  optimizer.options_ = options;
  const auto bytes = static_cast<size_t>(optimizer.offset_.back()) * sizeof(float);
  OCTET_ASSIGN(optimizer.first_, Buffer::Allocate(bytes, "the optimiser's first moments"));
  OCTET_ASSIGN(optimizer.second_, Buffer::Allocate(bytes, "the optimiser's second moments"));
  return optimizer;
}

void AdamW::Step(double rate, double grad_scale, Context& context, const ModelTiles* tiles) {
  ++steps_;
  const auto t = static_cast<double>(steps_);
  const double correction1 = 1 - std::pow(options_.beta1, t);
  const double correction2 = 1 - std::pow(options_.beta2, t);
  const Split split = SplitOf(tensors_, tiles);
  ForEachChunk(tensors_, split.size, context.pool, [&](size_t i, int64_t first, int64_t count) {
    const TrainedTensor& tensor = tensors_[i];
    const double own_rate = rate * (tensor.is_router ? options_.router_rate : 1);
    const bool decays = !tensor.is_vector || options_.decay_vectors;
    context.kernels.adamw->adamw(
        {.w = tensor.weight.data() + first,
         .grad = tensor.grad.data() + first,
         .m = First(i).data() + first,
         .v = Second(i).data() + first,
         .n = count,
         .grad_scale = static_cast<float>(grad_scale),
         .beta1 = static_cast<float>(options_.beta1),
         .beta2 = static_cast<float>(options_.beta2),
         .keep = static_cast<float>(1 - (decays ? own_rate * options_.weight_decay : 0)),
         .step = static_cast<float>(own_rate / correction1),
         .root_scale = static_cast<float>(1 / std::sqrt(correction2)),
         .eps = static_cast<float>(options_.eps)});
    if (split.matrix[i] < 0) return;
    const int64_t columns = tiles->Columns(split.matrix[i]);
    tiles->RefreshRows(split.matrix[i], first / columns, count / columns, context.kernels);
  });
}

Result<WeightAverage> WeightAverage::Create(std::vector<TrainedTensor> tensors, double decay) {
  WeightAverage average;
  average.offset_ = Offsets(tensors);
  average.tensors_ = std::move(tensors);
  average.decay_ = decay;
  const auto bytes = static_cast<size_t>(average.offset_.back()) * sizeof(float);
  OCTET_ASSIGN(average.buffer_, Buffer::Allocate(bytes, "the average of weights"));
  return average;
}

void WeightAverage::Update(ThreadPool& pool) {
  const auto keep = static_cast<float>(updates_ == 0 ? 0 : decay_);
  ++updates_;
  ForEachChunk(tensors_, pool, [&](size_t tensor, int64_t first, int64_t count) {
    const float* w = tensors_[tensor].weight.data() + first;
    float* average = Of(tensor).data() + first;
    for (int64_t i = 0; i < count; ++i) average[i] = keep * average[i] + (1.0f - keep) * w[i];
  });
}

}  // namespace octet
