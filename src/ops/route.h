// The router: which experts a token goes to, and with what weight.
#pragma once

#include <cstdint>

#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

/// Top-k of each row of logits [T, E], then softmax over the chosen (Jiang et al. 2024,
/// section 2.1). experts, weights [T, k], best first; of equal logits the lower expert comes first.
void Route(View<const float, 2> logits, View<int32_t, 2> experts, View<float, 2> weights,
           Context& context);

}  // namespace octet
