// Changes to the logits that depend on what was said before: repetition, presence and frequency
// penalties, and DRY.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sample/options.h"

namespace octet {

/// The last `last_n` of `history`; all of it for -1.
std::span<const int32_t> Window(std::span<const int32_t> history, int32_t last_n);

/// For every token of the window, once: a positive logit is divided by repeat_penalty, another
/// multiplied (Keskar et al. 2019, CTRL); then count · frequency_penalty + presence_penalty is
/// subtracted (OpenAI). `counts` [vocab] is scratch, all zero before and after.
void ApplyPenalties(const SamplingOptions& options, std::span<const int32_t> history,
                    std::span<int32_t> counts, std::span<float> logits);

/// "Don't repeat yourself" (p-e-w, text-generation-webui #5677): a token that would extend a
/// repetition of n ≥ allowed_length tokens loses multiplier · base^(n − allowed_length), n being
/// the longest. A repetition does not reach across a breaker, and breakers are never penalised.
class DryPenalty {
 public:
  /// `breaker_ids` need not be sorted.
  DryPenalty(const SamplingOptions& options, int32_t vocab_size,
             std::span<const int32_t> breaker_ids);

  void Apply(std::span<const int32_t> history, std::span<float> logits);

 private:
  float multiplier_;
  double base_;
  int32_t allowed_length_;
  int32_t last_n_;
  std::vector<uint8_t> is_breaker_;  // [vocab]
  std::vector<int32_t> match_;       // [window] scratch: the Z-array of the reversed window
  std::vector<int32_t> longest_;     // [vocab] scratch, all zero between calls
};

}  // namespace octet
