// The router: which experts a token goes to, and with what weight.
#pragma once

#include <cstdint>
#include <span>

#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

/// Of one row: how many experts, and which not (a bit for each of the first 64). At least one is
/// left.
struct RouteRule {
  int32_t k = 0;
  uint64_t without = 0;
};

/// Top-k of each row of logits [T, E], then softmax over the chosen (Jiang et al. 2024,
/// section 2.1). experts, weights [T, k], best first; of equal logits the lower expert comes first.
/// A bias [E], where there is one, decides the choice and its order and nothing else: weights are
/// of the logits without it (Wang et al. 2024, "Auxiliary-loss-free load balancing"). With `rules`
/// [T] each row chooses as many as its rule says, at most k, or as many as are left; the rest of
/// its choices are -1 with weight 0.
void Route(View<const float, 2> logits, View<const float, 1> bias, View<int32_t, 2> experts,
           View<float, 2> weights, Context& context, std::span<const RouteRule> rules = {});

}  // namespace octet
