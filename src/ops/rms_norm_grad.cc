#include "ops/rms_norm_grad.h"

#include <algorithm>
#include <cmath>

namespace octet {
namespace {

constexpr int64_t kRowBlock = 32;  // rows whose share of d_weight one task sums

/// 1 / sqrt(mean(x²) + eps), in double.
double InverseRms(const float* x, int64_t d, double eps) {
  double sum = 0;
  for (int64_t i = 0; i < d; ++i) sum += static_cast<double>(x[i]) * x[i];
  return 1.0 / std::sqrt(sum / static_cast<double>(d) + eps);
}

/// One row's d_x, and its share of d_weight added to `partial` (or nowhere).
void GradRow(const RmsNormGradTask& task, int64_t t, float* partial) {
  const int64_t d = task.x.shape[1];
  const float* x = task.x[t].data;
  const float* d_y = task.d_y[t].data;
  const float* w = task.weight.data;
  const double r = InverseRms(x, d, task.eps);
  double dot = 0;
  for (int64_t i = 0; i < d; ++i) dot += static_cast<double>(d_y[i]) * w[i] * x[i];
  const auto scale = static_cast<float>(r);
  const auto pull = static_cast<float>(dot * r * r * r / static_cast<double>(d));
  float* d_x = task.d_x[t].data;
  for (int64_t i = 0; i < d; ++i) d_x[i] += scale * w[i] * d_y[i] - pull * x[i];
  if (partial == nullptr) return;
  for (int64_t i = 0; i < d; ++i) partial[i] += d_y[i] * (x[i] * scale);
}

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
    for (int64_t t = block * kRowBlock; t < end; ++t) GradRow(task, t, own);
  });
  if (!trained) return;
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t i = 0; i < d; ++i) task.d_weight[i] += partial[block][i];
  }
}

}  // namespace octet
