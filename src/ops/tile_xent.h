// The head's log-probabilities and their gradient under Arithmetic::kBf16: a block of rows goes
// through the vocabulary in stretches whose logits never leave the core's cache. They are computed
// twice, once for the sums and once for the gradient. docs/math/softmax_xent.md.
#pragma once

#include <span>

#include "ops/softmax_xent.h"

namespace octet {

/// As TargetLogProbs and TargetLogProbsGrad; both give the same log-probabilities. The head must
/// have no adapter.
void TileTargetLogProbs(const TargetTask& task, std::span<float> log_prob, Context& context);
void TileTargetLogProbsGrad(const TargetTask& task, const TargetGrad& grad,
                            std::span<float> log_prob, Context& context);

}  // namespace octet
