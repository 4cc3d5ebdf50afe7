// Gradient of the router's linear map, in float. docs/math/linear.md.
#pragma once

#include "ops/context.h"
#include "tensor/view.h"
#include "tensor/weight_matrix.h"

namespace octet {

struct RouterGradTask {
  const WeightMatrix* w;          // [E, d_model], F32, without adapter
  View<const float, 2> x;         // [T, d_model] what the router read
  View<const float, 2> d_logits;  // [T, E]
  View<float, 2> d_x;             // [T, d_model], added to
  View<float, 2> d_w;             // [E, d_model], added to; empty: frozen
};

bool CanGradRouter(const WeightMatrix& w);

/// Both gradients in one pass over the rows: what LinearGradInput and LinearGradWeight give, in
/// another order of sums. Bits do not depend on the threads.
void RouterGrad(const RouterGradTask& task, Context& context);

}  // namespace octet
