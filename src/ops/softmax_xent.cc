#include "ops/softmax_xent.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "ops/linear.h"
#include "ops/product.h"
#include "ops/rows.h"
#include "ops/tile_xent.h"

namespace octet {
namespace {

/// Floats of logits at once, 8 MB: enough rows to make the products worthwhile, small against the
/// activations of a training step.
constexpr int64_t kChunkFloats = 2 << 20;
constexpr int64_t kExpCost = 4;  // in floats of plain work

int64_t ChunkRows(int64_t vocab) { return std::max<int64_t>(32, kChunkFloats / vocab / 16 * 16); }

bool IsTiled(const TargetTask& task, const Context& context) {
  return context.arithmetic == Arithmetic::kBf16 && task.head->adapter == nullptr;
}

/// log softmax(z)[target]. With `grad`, z becomes d_log_prob times its gradient.
float Row(View<float, 1> z, int32_t target, const float* d_log_prob, const KernelTable& kernels) {
  double sum = 0;
  float at_target = 0;
  kernels.target_row->target_row({z.data, z.shape[0], target, d_log_prob, &sum, &at_target});
  return static_cast<float>(at_target - std::log(sum));
}

/// Calls fn(first, rows, logits [rows, vocab]) for chunks of rows, after log_prob is filled.
template <class Fn>
void ForEachChunk(const TargetTask& task, const float* d_log_prob, std::span<float> log_prob,
                  Context& context, Fn fn) {
  const int64_t rows = task.x.shape[0], vocab = task.head->rows;
  CHECK(static_cast<int64_t>(task.target.size()) == rows);
  const int64_t chunk = std::min(ChunkRows(vocab), rows);
  auto logits = context.scratch.Matrix<float>(chunk, vocab);
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t n = std::min(chunk, rows - first);
    const View<float, 2> part = logits.Rows(0, n);
    Linear(*task.head, task.x.Rows(first, n), part, context);
    ForEachRow(n, vocab * kExpCost, context, [&](int64_t i) {
      const auto r = static_cast<size_t>(first + i);
      log_prob[r] = Row(part[i], task.target[r], d_log_prob == nullptr ? nullptr : d_log_prob + r,
                        context.kernels);
    });
    fn(first, n, part);
  }
}

}  // namespace

void TargetLogProbs(const TargetTask& task, std::span<float> log_prob, Context& context) {
  if (IsTiled(task, context)) return TileTargetLogProbs(task, log_prob, context);
  const Arena::Scope scope(context.scratch);
  ForEachChunk(task, nullptr, log_prob, context, [](int64_t, int64_t, View<float, 2>) {});
}

namespace {

/// One chunk's share of the gradient.
void FloatChunk(const TargetTask& task, const TargetGrad& grad, View<const float, 2> head_t,
                int64_t first, View<const float, 2> d_logits, Context& context) {
  const Arena::Scope scope(context.scratch);
  const int64_t n = d_logits.shape[0];
  const Product to_x{d_logits, head_t, grad.d_x.Rows(first, n)};
  Multiply({&to_x, 1}, context);
  if (grad.d_head.data == nullptr) return;
  const Product to_head{Transposed(d_logits, context), Transposed(task.x.Rows(first, n), context),
                        grad.d_head, true};
  Multiply({&to_head, 1}, context);
}

}  // namespace

void TargetLogProbsGrad(const TargetTask& task, const TargetGrad& grad, std::span<float> log_prob,
                        Context& context) {
  const Arena::Scope scope(context.scratch);
  if (IsTiled(task, context)) return TileTargetLogProbsGrad(task, grad, log_prob, context);
  if (grad.begins && grad.d_head.data != nullptr)
    std::fill_n(grad.d_head.data, grad.d_head.size(), 0.0f);
  const View<const float, 2> head_t = Transposed(*task.head, context);
  ForEachChunk(task, grad.d_log_prob.data(), log_prob, context,
               [&](int64_t first, int64_t, View<float, 2> d_logits) {
                 FloatChunk(task, grad, head_t, first, d_logits, context);
               });
}

}  // namespace octet
