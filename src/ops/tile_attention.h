// Attention and its gradient under Arithmetic::kBf16, for whole sequences: scores of a block of
// queries at once, products in bf16 tiles, softmax and sums in float. docs/math/attention.md.
#pragma once

#include <span>

#include "ops/attention.h"
#include "ops/attention_grad.h"

namespace octet {

/// True when every segment is a whole sequence whose keys and values are floats in one page: what a
/// tape holds.
bool CanTileAttention(std::span<const AttentionSegment> segments);

/// As Attention with `log_sum`; q is already scaled.
void TileAttention(View<const float, 2> q, const AttentionShape& shape,
                   std::span<const AttentionSegment> segments, View<float, 2> out,
                   View<float, 2> log_sum, Context& context);

/// As AttentionGrad, with `delta` [T, H] = Σ_d d_out · out. Threads share segments and key/value
/// heads.
void TileAttentionGrad(const AttentionGradTask& task, const AttentionShape& shape,
                       std::span<const AttentionSegment> segments, View<const float, 2> delta,
                       Context& context);

}  // namespace octet
