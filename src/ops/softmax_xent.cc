#include "ops/softmax_xent.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "ops/linear.h"
#include "ops/product.h"
#include "ops/rows.h"

namespace octet {
namespace {

/// Floats of logits at once, 8 MB: enough rows to make the products worthwhile, small against the
/// activations of a training step.
constexpr int64_t kChunkFloats = 2 << 20;
constexpr int64_t kExpCost = 8;  // in floats of plain work

int64_t ChunkRows(int64_t vocab) { return std::max<int64_t>(32, kChunkFloats / vocab / 16 * 16); }

/// log softmax(z)[target]. With `grad`, z becomes d_log_prob times its gradient.
float Row(float* z, int64_t vocab, int32_t target, const float* d_log_prob) {
  const float best = *std::max_element(z, z + vocab);
  const float at_target = z[target] - best;
  double sum = 0;
  for (int64_t i = 0; i < vocab; ++i) {
    z[i] = std::exp(z[i] - best);
    sum += z[i];
  }
  if (d_log_prob != nullptr) {
    const auto scale = static_cast<float>(-static_cast<double>(*d_log_prob) / sum);
    for (int64_t i = 0; i < vocab; ++i) z[i] *= scale;
    z[target] += *d_log_prob;
  }
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
      log_prob[r] = Row(part[i].data, vocab, task.target[r],
                        d_log_prob == nullptr ? nullptr : d_log_prob + r);
    });
    fn(first, n, part);
  }
}

}  // namespace

void TargetLogProbs(const TargetTask& task, std::span<float> log_prob, Context& context) {
  const Arena::Scope scope(context.scratch);
  ForEachChunk(task, nullptr, log_prob, context, [](int64_t, int64_t, View<float, 2>) {});
}

void TargetLogProbsGrad(const TargetTask& task, const TargetGrad& grad, std::span<float> log_prob,
                        Context& context) {
  const Arena::Scope scope(context.scratch);
  const View<const float, 2> head_t = Transposed(*task.head, context);
  ForEachChunk(task, grad.d_log_prob.data(), log_prob, context,
               [&](int64_t first, int64_t n, View<float, 2> d_logits) {
                 const Arena::Scope chunk_scope(context.scratch);
                 const Product to_x{d_logits, head_t, grad.d_x.Rows(first, n)};
                 Multiply({&to_x, 1}, context);
                 if (grad.d_head.data == nullptr) return;
                 const Product to_head{Transposed(d_logits, context),
                                       Transposed(task.x.Rows(first, n), context), grad.d_head,
                                       true};
                 Multiply({&to_head, 1}, context);
               });
}

}  // namespace octet
