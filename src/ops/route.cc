#include "ops/route.h"

#include <algorithm>
#include <cmath>

#include "ops/rows.h"

namespace octet {
namespace {

/// The k best of `scores` but `without`, best first; of equal ones the lower expert first. How
/// many.
int64_t Choose(const float* scores, int64_t n_experts, RouteRule rule, int32_t* experts) {
  const int64_t k = rule.k;
  // Insertion into a short sorted list: k is 2 and E is 8 in the models this is for. NaN never
  // beats anything, so a damaged model still gets k distinct experts.
  int64_t chosen = 0;
  for (int64_t e = 0; e < n_experts; ++e) {
    constexpr int64_t kMaskBits = 64;
    if (e < kMaskBits && (rule.without >> e & 1) != 0) continue;
    int64_t at = chosen;
    while (at > 0 && scores[e] > scores[experts[at - 1]]) --at;
    if (at >= k) continue;
    for (int64_t j = chosen < k ? chosen : k - 1; j > at; --j) experts[j] = experts[j - 1];
    experts[at] = static_cast<int32_t>(e);
    if (chosen < k) ++chosen;
  }
  return chosen;
}

/// Softmax of the chosen logits.
void Weigh(const float* logits, const int32_t* experts, int64_t k, float* weights) {
  float best = logits[experts[0]];
  for (int64_t j = 1; j < k; ++j) best = std::max(best, logits[experts[j]]);
  float sum = 0;
  for (int64_t j = 0; j < k; ++j) {
    weights[j] = std::exp(logits[experts[j]] - best);
    sum += weights[j];
  }
  for (int64_t j = 0; j < k; ++j) weights[j] /= sum;
}

}  // namespace

void Route(View<const float, 2> logits, View<const float, 1> bias, View<int32_t, 2> experts,
           View<float, 2> weights, Context& context, std::span<const RouteRule> rules) {
  const PartScope part(context.profile, StepPart::kRoute);
  const int64_t n_experts = logits.shape[1], k = experts.shape[1];
  Arena::Scope scope(context.scratch);
  const bool biased = bias.data != nullptr;
  const View<float, 2> scores =
      biased ? context.scratch.Matrix<float>(logits.shape[0], n_experts) : View<float, 2>{};
  ForEachRow(logits.shape[0], n_experts * k, context, [&](int64_t t) {
    const float* row = logits[t].data;
    if (biased) {
      for (int64_t e = 0; e < n_experts; ++e) scores[t].data[e] = row[e] + bias.data[e];
    }
    const RouteRule rule =
        rules.empty() ? RouteRule{static_cast<int32_t>(k)} : rules[static_cast<size_t>(t)];
    const int64_t chosen = Choose(biased ? scores[t].data : row, n_experts, rule, experts[t].data);
    Weigh(row, experts[t].data, chosen, weights[t].data);
    for (int64_t j = chosen; j < k; ++j) {
      experts[t].data[j] = -1;
      weights[t].data[j] = 0;
    }
  });
}

}  // namespace octet
