#include "ops/attention_grad.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "ops/rows.h"
#include "ops/tile_attention.h"

namespace octet {
namespace {

constexpr int64_t kTile = 64;  // queries, and keys, of a block of scores

/// What one worker needs beside the outputs. Tiles are dense, [kTile, kTile] unless stated.
struct Scratch {
  float* kernel;
  float* p;        // probabilities, then their gradient dS, by [query][key]
  float* dp;       // gradient by the probabilities
  float* p_t;      // [key][query]
  float* ds_t;     // [key][query]
  float* q_t;      // [D][query]
  float* o_t;      // [D][query] of d_out
  float* k_t;      // [D][key]
  float* product;  // [kTile, D]
  float* d_k;      // [kTile, D] sums of the block of keys
  float* d_v;
};

/// One segment and key/value head.
struct Unit {
  const AttentionGradTask& task;
  const AttentionShape& shape;
  const AttentionSegment& segment;
  View<const float, 2> delta;  // [T, H] Σ_d d_out · out
  const KernelDescriptor& kernel;
  int64_t kv_head;

  int64_t group() const { return shape.n_heads / shape.n_kv_heads; }
  const float* Key(View<const float, 2> k, int64_t position) const {
    return k[segment.first_row + position].data + kv_head * shape.head_dim;
  }
};

/// Rows of a matrix with K = cols consecutive floats each.
struct Operand {
  const float* data;
  int64_t stride, rows;
};

/// y[i][j] = a[i] · b[j], by the matmul kernel.
void Dots(const Unit& unit, const Scratch& s, Operand a, Operand b, int64_t cols, float* y,
          int64_t y_stride) {
  unit.kernel.matmul({.w = reinterpret_cast<const std::byte*>(b.data),
                      .w_row_bytes = b.stride * static_cast<int64_t>(sizeof(float)),
                      .rows = b.rows,
                      .cols = cols,
                      .x = a.data,
                      .x_stride = a.stride,
                      .y = y,
                      .y_stride = y_stride,
                      .tokens = a.rows,
                      .decode = Info(Format::kF32).decode,
                      .scratch = s.kernel});
}

/// out[i][r] = in[r][i] for r < rows, i < cols; rows of `out` are kTile apart.
void TransposeTile(const float* in, int64_t stride, int64_t rows, int64_t cols, float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < cols; ++i) out[i * kTile + r] = in[r * stride + i];
  }
}

void AddTile(const float* in, int64_t rows, int64_t cols, float* out, int64_t out_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < cols; ++i) out[r * out_stride + i] += in[r * cols + i];
  }
}

/// From scores in s.p and products in s.dp: dS to s.p, P and dS transposed. Pairs that the mask or
/// the window hides get zeros.
void Softmax(const Unit& unit, const Scratch& s, int64_t first_q, int64_t n_q, int64_t first_k,
             int64_t n_k, int64_t head) {
  const int64_t window = unit.shape.sliding_window;
  for (int64_t i = 0; i < n_q; ++i) {
    const int64_t position = first_q + i, row = unit.segment.first_row + position;
    const float log_sum = unit.task.log_sum[row][head], delta = unit.delta[row][head];
    for (int64_t j = 0; j < n_k; ++j) {
      const int64_t key = first_k + j;
      const bool seen = key <= position && (window == 0 || key > position - window);
      float& p = s.p[i * kTile + j];
      const float weight = seen ? std::exp(p - log_sum) : 0.0f;
      const float d_score = seen ? weight * (s.dp[i * kTile + j] - delta) : 0.0f;
      p = d_score;
      s.p_t[j * kTile + i] = weight;
      s.ds_t[j * kTile + i] = d_score;
    }
  }
}

/// One tile of queries of one head against one block of keys.
void RunTile(const Unit& unit, const Scratch& s, int64_t first_q, int64_t n_q, int64_t first_k,
             int64_t n_k, int64_t head) {
  const AttentionGradTask& task = unit.task;
  const int64_t d = unit.shape.head_dim, row = unit.segment.first_row + first_q;
  const Operand q{task.q[row].data + head * d, task.q.stride[0], n_q};
  const Operand d_out{task.d_out[row].data + head * d, task.d_out.stride[0], n_q};
  const Operand k{unit.Key(task.k, first_k), task.k.stride[0], n_k};
  const Operand v{unit.Key(task.v, first_k), task.v.stride[0], n_k};
  Dots(unit, s, q, k, d, s.p, kTile);
  Dots(unit, s, d_out, v, d, s.dp, kTile);
  Softmax(unit, s, first_q, n_q, first_k, n_k, head);

  TransposeTile(q.data, q.stride, n_q, d, s.q_t);
  TransposeTile(d_out.data, d_out.stride, n_q, d, s.o_t);
  Dots(unit, s, {s.p_t, kTile, n_k}, {s.o_t, kTile, d}, n_q, s.product, d);
  AddTile(s.product, n_k, d, s.d_v, d);
  Dots(unit, s, {s.ds_t, kTile, n_k}, {s.q_t, kTile, d}, n_q, s.product, d);
  AddTile(s.product, n_k, d, s.d_k, d);
  Dots(unit, s, {s.p, kTile, n_q}, {s.k_t, kTile, d}, n_k, s.product, d);
  AddTile(s.product, n_q, d, task.d_q[row].data + head * d, task.d_q.stride[0]);
}

void RunUnit(const Unit& unit, const Scratch& s) {
  const AttentionGradTask& task = unit.task;
  const int64_t d = unit.shape.head_dim, rows = unit.segment.rows;
  const int64_t window = unit.shape.sliding_window;
  for (int64_t first_k = 0; first_k < rows; first_k += kTile) {
    const int64_t n_k = std::min(kTile, rows - first_k);
    std::fill_n(s.d_k, n_k * d, 0.0f);
    std::fill_n(s.d_v, n_k * d, 0.0f);
    TransposeTile(unit.Key(task.k, first_k), task.k.stride[0], n_k, d, s.k_t);
    // The last key of the block is seen up to this position.
    const int64_t end = window > 0 ? std::min(rows, first_k + n_k - 1 + window) : rows;
    for (int64_t first_q = first_k; first_q < end; first_q += kTile) {
      for (int64_t h = 0; h < unit.group(); ++h) {
        RunTile(unit, s, first_q, std::min(kTile, end - first_q), first_k, n_k,
                unit.kv_head * unit.group() + h);
      }
    }
    for (int64_t j = 0; j < n_k; ++j) {
      const int64_t row = unit.segment.first_row + first_k + j;
      std::copy_n(s.d_k + j * d, d, task.d_k[row].data + unit.kv_head * d);
      std::copy_n(s.d_v + j * d, d, task.d_v[row].data + unit.kv_head * d);
    }
  }
}

Scratch AllocateScratch(int64_t head_dim, int64_t kernel_floats, Arena& arena) {
  const int64_t square = kTile * kTile, strip = kTile * head_dim;
  return {arena.Allocate<float>(kernel_floats), arena.Allocate<float>(square),
          arena.Allocate<float>(square),        arena.Allocate<float>(square),
          arena.Allocate<float>(square),        arena.Allocate<float>(strip),
          arena.Allocate<float>(strip),         arena.Allocate<float>(strip),
          arena.Allocate<float>(strip),         arena.Allocate<float>(strip),
          arena.Allocate<float>(strip)};
}

/// Σ_d d_out · out of every row and head.
View<float, 2> RowSums(const AttentionGradTask& task, const AttentionShape& shape,
                       Context& context) {
  auto delta = context.scratch.Matrix<float>(task.q.shape[0], shape.n_heads);
  const int64_t d = shape.head_dim;
  ForEachRow(task.q.shape[0], 2 * task.q.shape[1], context, [&](int64_t t) {
    for (int64_t h = 0; h < shape.n_heads; ++h) {
      double sum = 0;
      context.kernels.dot->dot({task.d_out[t].data + h * d, task.out[t].data + h * d, d, &sum});
      delta[t][h] = static_cast<float>(sum);
    }
  });
  return delta;
}

}  // namespace

void AttentionGrad(const AttentionGradTask& task, const AttentionShape& shape,
                   std::span<const AttentionSegment> segments, Context& context) {
  const Arena::Scope scope(context.scratch);
  for (const AttentionSegment& segment : segments) CHECK(segment.first_position == 0);
  const View<const float, 2> delta = RowSums(task, shape, context);
  if (context.arithmetic == Arithmetic::kBf16) {
    return TileAttentionGrad(
        {task.q, task.k, task.v, task.d_out, task.log_sum, delta, task.d_q, task.d_k, task.d_v},
        shape, segments, context);
  }
  ForEachRow(task.q.shape[0], task.q.shape[1], context,
             [&](int64_t t) { std::fill_n(task.d_q[t].data, task.q.shape[1], 0.0f); });
  const KernelDescriptor& kernel =
      *context.kernels.Matmul(Format::kF32, Layout::kRowMajor, Arithmetic::kFloat32, kTile);
  auto* scratch = context.scratch.Allocate<Scratch>(context.pool.threads());
  for (int w = 0; w < context.pool.threads(); ++w)
    scratch[w] = AllocateScratch(shape.head_dim, kernel.scratch_floats, context.scratch);
  const auto units = static_cast<int64_t>(segments.size()) * shape.n_kv_heads;
  context.pool.ParallelFor(units, [&](int64_t i, int worker) {
    const auto segment = static_cast<size_t>(i / shape.n_kv_heads);
    RunUnit({task, shape, segments[segment], delta, kernel, i % shape.n_kv_heads}, scratch[worker]);
  });
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
  ForEachRow(task.d_q.shape[0], task.d_q.shape[1], context, [&](int64_t t) {
    for (float& value : task.d_q[t]) value *= scale;
  });
}

}  // namespace octet
