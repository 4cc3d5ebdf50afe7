// The gated activation of the feed-forward (Shazeer 2020).
#pragma once

#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

/// gate[s] = silu(gate[s]) · up[s], silu(z) = z / (1 + e^-z). gate, up [S, d_ff]; gate is
/// overwritten.
void SwiGlu(View<float, 2> gate, View<const float, 2> up, Context& context);

}  // namespace octet
