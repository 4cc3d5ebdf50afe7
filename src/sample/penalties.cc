#include "sample/penalties.h"

#include <algorithm>
#include <cmath>

namespace octet {

std::span<const int32_t> Window(std::span<const int32_t> history, int32_t last_n) {
  if (last_n < 0 || static_cast<size_t>(last_n) >= history.size()) return history;
  return history.last(static_cast<size_t>(last_n));
}

void ApplyPenalties(const SamplingOptions& options, std::span<const int32_t> history,
                    std::span<int32_t> counts, std::span<float> logits) {
  const bool off = options.repeat_penalty == 1 && options.presence_penalty == 0 &&
                   options.frequency_penalty == 0;
  if (off) return;
  const std::span<const int32_t> window = Window(history, options.penalty_last_n);
  for (const int32_t id : window) ++counts[id];
  for (const int32_t id : window) {
    const int32_t count = counts[id];
    if (count == 0) continue;  // done already
    counts[id] = 0;
    float& logit = logits[id];
    logit = logit > 0 ? logit / options.repeat_penalty : logit * options.repeat_penalty;
    logit -= static_cast<float>(count) * options.frequency_penalty + options.presence_penalty;
  }
}

DryPenalty::DryPenalty(const SamplingOptions& options, int32_t vocab_size,
                       std::span<const int32_t> breaker_ids)
    : multiplier_(options.dry_multiplier),
      base_(options.dry_base),
      allowed_length_(options.dry_allowed_length),
      last_n_(options.dry_last_n) {
  if (multiplier_ == 0) return;
  is_breaker_.resize(static_cast<size_t>(vocab_size), 0);
  longest_.resize(static_cast<size_t>(vocab_size), 0);
  for (const int32_t id : breaker_ids) is_breaker_[id] = 1;
}

void DryPenalty::Apply(std::span<const int32_t> history, std::span<float> logits) {
  if (multiplier_ == 0) return;
  const std::span<const int32_t> window = Window(history, last_n_);
  const auto n = static_cast<int32_t>(window.size());
  // Tokens since the last breaker: no repetition can be longer.
  int32_t limit = 0;
  while (limit < n && !is_breaker_[window[n - 1 - limit]]) ++limit;
  if (limit < allowed_length_) return;

  // match_[i]: how many tokens ending i before the end equal the window's own ending. That is the
  // Z-function of the reversed window (Gusfield 1997, section 1.4), so a long repetition costs
  // O(n) and not O(n²). [left, right) is the rightmost stretch known to equal the beginning.
  const auto at = [&](int32_t i) { return window[n - 1 - i]; };
  if (match_.size() < window.size()) {
    match_.resize(std::max<size_t>({window.size(), 2 * match_.size(), 1024}));  // grows seldom
  }
  for (int32_t i = 1, left = 0, right = 0; i < n; ++i) {
    int32_t length = i < right ? std::min(right - i, match_[i - left]) : 0;
    while (i + length < n && at(length) == at(i + length)) ++length;
    match_[i] = length;
    if (i + length > right) left = i, right = i + length;
    const int32_t next = at(i - 1);  // what followed that earlier occurrence
    longest_[next] = std::max(longest_[next], std::min(length, limit));
  }
  for (int32_t i = 1; i < n; ++i) {
    const int32_t id = at(i - 1);
    const int32_t length = longest_[id];
    longest_[id] = 0;
    if (length < allowed_length_ || is_breaker_[id]) continue;
    const double penalty = multiplier_ * std::pow(base_, length - allowed_length_);
    // Far below every other logit, yet finite: a token no one else can replace is still chosen.
    logits[id] -= static_cast<float>(std::min(penalty, 1e30));
  }
}

}  // namespace octet
