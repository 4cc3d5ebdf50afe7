#include "ops/route.h"

#include <cmath>

#include "ops/rows.h"

namespace octet {
namespace {

void RouteRow(const float* logits, int64_t n_experts, int64_t k, int32_t* experts, float* weights) {
  // Insertion into a short sorted list: k is 2 and E is 8 in the models this is for. NaN never
  // beats anything, so a damaged model still gets k distinct experts.
  int64_t chosen = 0;
  for (int64_t e = 0; e < n_experts; ++e) {
    int64_t at = chosen;
    while (at > 0 && logits[e] > logits[experts[at - 1]]) --at;
    if (at >= k) continue;
    for (int64_t j = chosen < k ? chosen : k - 1; j > at; --j) experts[j] = experts[j - 1];
    experts[at] = static_cast<int32_t>(e);
    if (chosen < k) ++chosen;
  }
  const float best = logits[experts[0]];
  float sum = 0;
  for (int64_t j = 0; j < k; ++j) {
    weights[j] = std::exp(logits[experts[j]] - best);
    sum += weights[j];
  }
  for (int64_t j = 0; j < k; ++j) weights[j] /= sum;
}

}  // namespace

void Route(View<const float, 2> logits, View<int32_t, 2> experts, View<float, 2> weights,
           Context& context) {
  const PartScope part(context.profile, StepPart::kRoute);
  const int64_t n_experts = logits.shape[1], k = experts.shape[1];
  ForEachRow(logits.shape[0], n_experts * k, context, [&](int64_t t) {
    RouteRow(logits[t].data, n_experts, k, experts[t].data, weights[t].data);
  });
}

}  // namespace octet
