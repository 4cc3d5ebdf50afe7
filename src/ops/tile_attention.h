// Attention and its gradient under Arithmetic::kBf16, for whole sequences: scores of a block of
// queries at once, products in bf16 tiles, softmax and sums in float. docs/math/attention.md.
#pragma once

#include <span>

#include "ops/attention.h"
#include "ops/attention_grad.h"
#include "ops/tiles.h"

namespace octet {

/// True when every segment is a whole sequence whose keys and values are floats in one page: what a
/// tape holds.
bool CanTileAttention(std::span<const AttentionSegment> segments);

struct TileAttentionTask {
  TileSource q;     // [T, q_dim] turned and scaled
  TileSource k, v;  // [T, kv_dim]; empty: read from the segments' pages
  View<float, 2> out, log_sum;
};
/// As Attention with `log_sum`, once q is scaled. Threads share segments and key/value heads.
void TileAttention(const TileAttentionTask& task, const AttentionShape& shape,
                   std::span<const AttentionSegment> segments, Context& context);

struct TileAttentionGradTask {
  TileSource q, k, v, d_out;            // as AttentionGradTask has them
  View<const float, 2> log_sum, delta;  // [T, H]; delta = Σ_d d_out · out
  View<float, 2> d_q, d_k, d_v;         // overwritten
};
/// As AttentionGrad. Threads share segments and key/value heads.
void TileAttentionGrad(const TileAttentionGradTask& task, const AttentionShape& shape,
                       std::span<const AttentionSegment> segments, Context& context);

}  // namespace octet
