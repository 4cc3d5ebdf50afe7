// Gradient of Attention (Dao 2023, FlashAttention-2, alg. 2): scores are computed again block by
// block from the saved log-sum, never kept. docs/math/attention.md.
#pragma once

#include <span>

#include "ops/attention.h"
#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

struct AttentionGradTask {
  View<const float, 2> q;        // [T, q_dim] turned, and scaled by Attention
  View<const float, 2> k, v;     // [T, kv_dim] as appended
  View<const float, 2> out;      // [T, q_dim]
  View<const float, 2> log_sum;  // [T, H] log Σ exp(scores), which Attention wrote
  View<const float, 2> d_out;
  /// Overwritten. d_q is the gradient of q before it was scaled.
  View<float, 2> d_q, d_k, d_v;
};

/// Segments are whole sequences, from position 0. Work is split by segment and key/value head,
/// each of which owns its part of every output.
void AttentionGrad(const AttentionGradTask& task, const AttentionShape& shape,
                   std::span<const AttentionSegment> segments, Context& context);

}  // namespace octet
