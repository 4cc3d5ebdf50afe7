// Causal grouped-query attention over paged keys and values.
#pragma once

#include <cstdint>
#include <span>

#include "ops/context.h"
#include "tensor/kv_view.h"
#include "tensor/view.h"

namespace octet {

/// Consecutive rows of one sequence: rows [first_row, first_row + rows) at positions from
/// first_position.
struct AttentionSegment {
  int64_t first_row = 0;
  int64_t rows = 0;
  int64_t first_position = 0;
  KvView kv;
};

struct AttentionShape {
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t sliding_window = 0;  // keys a query sees, itself included; 0: all
};

/// Writes the segments' rows of k and v [T, kv_dim] into their pages, rounded to the page format.
void AppendKv(View<const float, 2> k, View<const float, 2> v,
              std::span<const AttentionSegment> segments, Context& context);

/// out[t] = softmax(q[t] Kᵀ / sqrt(head_dim)) V over the keys at positions ≤ t's (and inside the
/// window). q, out [T, n_heads · head_dim]; q may be scaled in place; out is overwritten. Keys are
/// walked in blocks at fixed absolute positions, so a row sees the same operations alone and in a
/// prompt. Arithmetic::kFast takes span kernels where this machine has them
/// (ops/attention_spans.h). With `log_sum` [T, n_heads] it never does, scales q in place and also
/// writes log Σ exp(scores) of every row and head: what the gradient needs to compute the
/// probabilities again.
void Attention(View<float, 2> q, const AttentionShape& shape,
               std::span<const AttentionSegment> segments, View<float, 2> out, Context& context,
               View<float, 2> log_sum = {});

}  // namespace octet
