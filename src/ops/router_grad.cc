#include "ops/router_grad.h"

#include <algorithm>

#include "base/check.h"

namespace octet {
namespace {

constexpr int64_t kRowBlock = 128;  // rows whose share of d_w one task sums

}  // namespace

bool CanGradRouter(const WeightMatrix& w) {
  return w.format == Format::kF32 && w.layout == Layout::kRowMajor && w.adapter == nullptr;
}

void RouterGrad(const RouterGradTask& task, Context& context) {
  CHECK(CanGradRouter(*task.w));
  const Arena::Scope scope(context.scratch);
  const int64_t rows = task.x.shape[0], d = task.x.shape[1], experts = task.d_logits.shape[1];
  const int64_t blocks = (rows + kRowBlock - 1) / kRowBlock, size = experts * d;
  const bool trained = task.d_w.data != nullptr;
  auto* partial = context.scratch.Allocate<float>(trained ? blocks * size : 0);
  context.pool.ParallelFor(blocks, [&](int64_t block, int) {
    float* own = trained ? partial + block * size : nullptr;
    if (trained) std::fill_n(own, size, 0.0f);
    const int64_t first = block * kRowBlock;
    context.kernels.router_grad->router_grad({.d_logits = task.d_logits[first].data,
                                              .w = reinterpret_cast<const float*>(task.w->data),
                                              .x = task.x[first].data,
                                              .x_stride = task.x.stride[0],
                                              .d_x = task.d_x[first].data,
                                              .d_x_stride = task.d_x.stride[0],
                                              .d_w = own,
                                              .rows = std::min(kRowBlock, rows - first),
                                              .experts = experts,
                                              .n = d});
  });
  if (!trained) return;
  context.pool.ParallelFor(experts, [&](int64_t e, int) {
    float* sum = task.d_w[e].data;
    const float one = 1;
    for (int64_t block = 0; block < blocks; ++block) {
      const float* part = partial + block * size + e * d;
      context.kernels.sum->sum({sum, true, &part, &one, 1, d});
    }
  });
}

}  // namespace octet
