// Gradient of Rope: the transpose of a rotation turns back. docs/math/rope.md.
#pragma once

#include "ops/context.h"
#include "ops/rope.h"
#include "tensor/view.h"

namespace octet {

/// Turns every head of d_x [T, heads · head_dim] in place by the negative angles.
void RopeGrad(View<float, 2> d_x, const RopeTable& table, RopePairing pairing, Context& context);

}  // namespace octet
