#include "sample/log_probs.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace octet {

double LogSumExp(std::span<const float> logits) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  float max_logit = kNone;
  for (const float logit : logits) {
    if (logit > max_logit) max_logit = logit;
  }
  if (max_logit == kNone) return kNone;
  double sum = 0;
  for (const float logit : logits) {
    if (logit > kNone) sum += std::exp(static_cast<double>(logit) - max_logit);
  }
  return max_logit + std::log(sum);
}

void TopLogProbs(std::span<const float> logits, double log_sum_exp, int32_t n,
                 std::vector<TokenLogProb>& out) {
  // A heap of the n best so far, the worst of them in front.
  const auto better = [](const TokenLogProb& a, const TokenLogProb& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.id < b.id;
  };
  out.clear();
  if (n <= 0) return;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i])) continue;
    const TokenLogProb candidate{static_cast<int32_t>(i), logits[i]};
    if (static_cast<int32_t>(out.size()) < n) {
      out.push_back(candidate);
      std::push_heap(out.begin(), out.end(), better);
    } else if (better(candidate, out.front())) {
      std::pop_heap(out.begin(), out.end(), better);
      out.back() = candidate;
      std::push_heap(out.begin(), out.end(), better);
    }
  }
  std::sort_heap(out.begin(), out.end(), better);
  for (TokenLogProb& t : out) t.logprob = static_cast<float>(t.logprob - log_sum_exp);
}

}  // namespace octet
