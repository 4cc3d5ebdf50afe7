// The router: which experts a token goes to, and with what weight.
#pragma once

#include <cstdint>

#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

/// Top-k of each row of logits [T, E], then softmax over the chosen (Jiang et al. 2024,
/// section 2.1). experts, weights [T, k], best first; of equal logits the lower expert comes first.
/// A bias [E], where there is one, decides the choice and its order and nothing else: weights are
/// of the logits without it (Wang et al. 2024, "Auxiliary-loss-free load balancing").
void Route(View<const float, 2> logits, View<const float, 1> bias, View<int32_t, 2> experts,
           View<float, 2> weights, Context& context);

}  // namespace octet
