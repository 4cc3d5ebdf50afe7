// Gradient of RmsNorm. Derivation: docs/math/rms_norm.md.
#pragma once

#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

struct RmsNormGradTask {
  View<const float, 2> x;       // [T, d] what RmsNorm read
  View<const float, 1> weight;  // [d]
  double eps;
  View<const float, 2> d_y;
  View<float, 2> d_x;       // [T, d], added to: the residual stream's gradient
  View<float, 1> d_weight;  // [d], added to; empty when the weight is frozen
};

/// Rows are summed into d_weight in blocks of fixed size, and the blocks in order.
void RmsNormGrad(const RmsNormGradTask& task, Context& context);

}  // namespace octet
