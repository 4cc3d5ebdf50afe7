// Gradient of Route: softmax over the chosen experts' logits. docs/math/route.md.
#pragma once

#include <cstdint>

#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

/// d_logits[t, e] += the gradient through weights[t] = softmax(logits[t, experts[t]]); the choice
/// itself carries none. experts, weights, d_weights [T, k]; d_logits [T, E].
struct RouteGradTask {
  View<const int32_t, 2> experts;
  View<const float, 2> weights, d_weights;
  View<float, 2> d_logits;
};
void RouteGrad(const RouteGradTask& task, Context& context);

}  // namespace octet
