// Token ids to rows of the embedding matrix.
#pragma once

#include <cstdint>
#include <span>

#include "ops/context.h"
#include "tensor/view.h"
#include "tensor/weight_matrix.h"

namespace octet {

/// x[t] = table[token[t]], decoded to float. table [vocab, d], row-major; x [T, d], overwritten.
void Embed(const WeightMatrix& table, std::span<const int32_t> tokens, View<float, 2> x,
           Context& context);

}  // namespace octet
