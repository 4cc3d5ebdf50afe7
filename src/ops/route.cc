#include "ops/route.h"

#include <algorithm>
#include <cmath>

#include "ops/rows.h"

namespace octet {
namespace {

/// The k best of `scores`, best first; of equal ones the lower expert first.
void Choose(const float* scores, int64_t n_experts, int64_t k, int32_t* experts) {
  // Insertion into a short sorted list: k is 2 and E is 8 in the models this is for. NaN never
  // beats anything, so a damaged model still gets k distinct experts.
  int64_t chosen = 0;
  for (int64_t e = 0; e < n_experts; ++e) {
    int64_t at = chosen;
    while (at > 0 && scores[e] > scores[experts[at - 1]]) --at;
    if (at >= k) continue;
    for (int64_t j = chosen < k ? chosen : k - 1; j > at; --j) experts[j] = experts[j - 1];
    experts[at] = static_cast<int32_t>(e);
    if (chosen < k) ++chosen;
  }
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
           View<float, 2> weights, Context& context) {
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
    Choose(biased ? scores[t].data : row, n_experts, k, experts[t].data);
    Weigh(row, experts[t].data, k, weights[t].data);
  });
}

}  // namespace octet
