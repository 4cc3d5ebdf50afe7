#include "train/muon.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "ops/newton_schulz.h"

namespace octet {
namespace {

/// The root mean square of AdamW's updates is about this.
constexpr double kUpdateSize = 0.2;

}  // namespace

Result<Muon> Muon::Create(std::vector<TrainedTensor> tensors, const MuonOptions& options) {
  Muon muon;
  muon.options_ = options;
  int64_t size = 0;
  for (const TrainedTensor& tensor : tensors) {
    CHECK(tensor.rows * tensor.cols == static_cast<int64_t>(tensor.weight.size()));
    muon.offset_.push_back(size);
    size += (tensor.rows * tensor.cols + 15) / 16 * 16;
  }
  muon.tensors_ = std::move(tensors);
  OCTET_ASSIGN(muon.buffer_, Buffer::Allocate(static_cast<size_t>(size) * sizeof(float),
                                              "the optimiser's momentum"));
  return muon;
}

void Muon::Step(double rate, double grad_scale, Context& context) {
  if (tensors_.empty()) return;
  const Arena::Scope scope(context.scratch);
  std::vector<NewtonSchulz::Shape> shapes;
  int64_t largest = 0;
  for (const TrainedTensor& tensor : tensors_) {
    shapes.push_back({tensor.rows, tensor.cols});
    largest = std::max(largest, tensor.rows * tensor.cols);
  }
  std::vector<NewtonSchulz> iterations;
  std::vector<float*> updates;
  for (int worker = 0; worker < context.pool.threads(); ++worker) {
    iterations.emplace_back(shapes, context);
    updates.push_back(context.scratch.Allocate<float>(largest));
  }
  const auto mu = static_cast<float>(options_.momentum);
  const float weights[] = {mu, static_cast<float>((1 - options_.momentum) * grad_scale)};
  const KernelTable& kernels = context.kernels;
  context.pool.ParallelFor(static_cast<int64_t>(tensors_.size()), [&](int64_t i, int worker) {
    const TrainedTensor& tensor = tensors_[static_cast<size_t>(i)];
    float* momentum = Momentum(static_cast<size_t>(i)).data();
    float* update = updates[static_cast<size_t>(worker)];
    const int64_t n = tensor.rows * tensor.cols;
    const float* rows[] = {momentum, tensor.grad.data()};
    kernels.sum->sum({momentum, false, rows, weights, 2, n});
    kernels.sum->sum({update, false, rows, weights, 2, n});
    iterations[static_cast<size_t>(worker)].Run(MakeView(update, tensor.rows, tensor.cols));
    const double longest = static_cast<double>(std::max(tensor.rows, tensor.cols));
    const float last[] = {static_cast<float>(1 - rate * options_.weight_decay),
                          static_cast<float>(-rate * kUpdateSize * std::sqrt(longest))};
    const float* terms[] = {tensor.weight.data(), update};
    kernels.sum->sum({tensor.weight.data(), false, terms, last, 2, n});
  });
}

}  // namespace octet
