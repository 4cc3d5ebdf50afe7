// Log-probabilities under the model's own logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sample/options.h"

namespace octet {

/// log Σ exp(logits), accumulated in double; -inf and NaN logits count as nothing.
double LogSumExp(std::span<const float> logits);

/// The `n` most likely tokens, best first, lower ids first among equals; replaces `out`.
void TopLogProbs(std::span<const float> logits, double log_sum_exp, int32_t n,
                 std::vector<TokenLogProb>& out);

}  // namespace octet
