// Gradient of Embed. docs/math/embed.md.
#pragma once

#include <cstdint>
#include <span>

#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

/// d_table[token[t]] += d_x[t], rows in order: threads share columns, never a sum.
void EmbedGrad(std::span<const int32_t> tokens, View<const float, 2> d_x, View<float, 2> d_table,
               Context& context);

}  // namespace octet
