#include "ops/rms_norm_grad.h"

#include <algorithm>

namespace octet {
namespace {

constexpr int64_t kRowBlock = 32;  // rows whose share of d_weight one task sums

}  // namespace

void RmsNormGrad(const RmsNormGradTask& task, Context& context) {
  const Arena::Scope scope(context.scratch);
  const int64_t rows = task.x.shape[0], d = task.x.shape[1];
  const int64_t blocks = (rows + kRowBlock - 1) / kRowBlock;
  const bool trained = task.d_weight.data != nullptr;
  auto partial = context.scratch.Matrix<float>(trained ? blocks : 0, d);
  context.pool.ParallelFor(blocks, [&](int64_t block, int) {
    float* own = trained ? partial[block].data : nullptr;
    if (trained) std::fill_n(own, d, 0.0f);
    const int64_t end = std::min(rows, (block + 1) * kRowBlock);
    for (int64_t t = block * kRowBlock; t < end; ++t) {
      context.kernels.rms_norm_grad->rms_norm_grad(
          {task.x[t].data, task.weight.data, task.d_y[t].data, d, task.eps, task.d_x[t].data, own});
    }
  });
  if (!trained) return;
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t i = 0; i < d; ++i) task.d_weight[i] += partial[block][i];
  }
}

}  // namespace octet
