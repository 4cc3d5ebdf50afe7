// Gradient of SwiGlu. docs/math/swiglu.md.
#pragma once

#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

/// hidden = silu(gate) · up, given d_hidden: d_gate and d_up, overwritten; either may be d_hidden.
/// All [S, d_ff]; `gate` is what SwiGlu read, before it was overwritten.
struct SwiGluGradTask {
  View<const float, 2> gate, up, d_hidden;
  View<float, 2> d_gate, d_up;
};
void SwiGluGrad(const SwiGluGradTask& task, Context& context);

}  // namespace octet
