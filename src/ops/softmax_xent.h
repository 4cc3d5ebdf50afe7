// Log-probabilities of targets under head logits, and their gradient, fused and in chunks of rows:
// logits of all rows never exist at once. docs/math/softmax_xent.md.
#pragma once

#include <cstdint>
#include <span>

#include "ops/context.h"
#include "tensor/view.h"
#include "tensor/weight_matrix.h"

namespace octet {

struct TargetTask {
  View<const float, 2> x;           // [R, d_model] what the head reads
  const WeightMatrix* head;         // [vocab, d_model], row-major
  std::span<const int32_t> target;  // [R] ids < vocab
};

/// log_prob[r] = log softmax(x[r] · headᵀ)[target[r]]. The logits have the bits of Linear.
void TargetLogProbs(const TargetTask& task, std::span<float> log_prob, Context& context);

/// The loss enters through its derivative by each log-probability. Any objective is such a set of
/// coefficients; -1/R everywhere is the mean cross-entropy.
struct TargetGrad {
  std::span<const float> d_log_prob;  // [R]
  View<float, 2> d_x;                 // [R, d_model], overwritten
  View<float, 2> d_head;              // [vocab, d_model], added to; empty when frozen
  bool begins = false;                // d_head holds nothing yet: it is written
};
/// Also writes log_prob, as TargetLogProbs would.
void TargetLogProbsGrad(const TargetTask& task, const TargetGrad& grad, std::span<float> log_prob,
                        Context& context);

}  // namespace octet
