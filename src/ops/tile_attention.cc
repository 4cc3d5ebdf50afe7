#include "ops/tile_attention.h"

#include <algorithm>
#include <cmath>

#include "ops/tiles.h"

namespace octet {
namespace {

constexpr int64_t kBlockTiles = kScoreSide / kTileDepth;
constexpr int64_t kBlockValues = kScoreSide * kScoreSide;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Columns of a head in a segment's rows.
TileSource RowsOf(const TileSource& x, const AttentionSegment& segment, int64_t head,
                  int64_t head_dim) {
  return x.Part(segment.first_row, segment.rows, head * head_dim, head_dim);
}
TileSource PageRows(const KvView& kv, std::span<std::byte* const> pages, int64_t rows,
                    int64_t head) {
  const auto* first = reinterpret_cast<const float*>(pages[0] + kv.Offset(0, head));
  const int64_t stride = kv.row_bytes() / static_cast<int64_t>(sizeof(float));
  return View<const float, 2>{first, {rows, kv.head_dim}, {stride, 1}};
}

/// Outputs are the rows, or the dimensions of the head when `turned`.
void Pack(const TileSource& x, bool turned, bool pairs, uint16_t* out, const KernelTable& kernels) {
  kernels.pack_tiles->pack_tiles({.x = x.x,
                                  .rounded = x.rounded,
                                  .x_stride = x.stride,
                                  .rows = x.rows,
                                  .cols = x.cols,
                                  .turned = turned,
                                  .pairs = pairs,
                                  .out = out,
                                  .panel_tiles = CeilDiv(turned ? x.rows : x.cols, kTileDepth)});
}

/// Operands of one product: outputs of `a` by outputs of `b`.
struct Side {
  const uint16_t* tiles;
  int64_t outputs, panel_tiles;
};
/// c = a · bᵀ, on top of `from` where that is not null (c itself or apart from it).
void Product(const Side& a, const Side& b, int64_t depth, View<const float, 2> from,
             View<float, 2> c, const KernelTable& kernels) {
  kernels.tile_product->tile_product({.a = a.tiles,
                                      .b = b.tiles,
                                      .a_panel_tiles = a.panel_tiles,
                                      .b_panel_tiles = b.panel_tiles,
                                      .depth_tiles = CeilDiv(depth, kTileDepth),
                                      .rows = a.outputs,
                                      .cols = b.outputs,
                                      .c = c.data,
                                      .c_stride = c.stride[0],
                                      .from = from.data,
                                      .from_stride = from.stride[0]});
}

int64_t LongestSegment(std::span<const AttentionSegment> segments) {
  int64_t rows = 0;
  for (const AttentionSegment& segment : segments) rows = std::max(rows, segment.rows);
  return rows;
}

/// First key that a query at `position` sees.
int64_t FirstKey(int64_t position, int64_t window) {
  return window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
}

/// Memory of a worker's forward pass over segments of up to n rows.
struct ForwardScratch {
  uint16_t* k;     // rows: outputs are the keys
  uint16_t* v;     // rows, turned: outputs are the dimensions
  uint16_t* q;     // pairs of a block of queries
  uint16_t* p;     // pairs of the block: outputs are the queries, depth the keys
  float* s;        // [keys, kScoreSide]
  float* turned;   // [head_dim, kScoreSide] the block's output
  float *m, *sum;  // [kScoreSide]
};
ForwardScratch MakeForwardScratch(int64_t n, int64_t d, Arena& arena) {
  const auto tiles = [&](int64_t outputs, int64_t depth) {
    return arena.Allocate<uint16_t>(TileOperand::Values(outputs, depth));
  };
  return {tiles(n, d),
          tiles(d, n),
          tiles(kScoreSide, d),
          tiles(kScoreSide, n),
          arena.Allocate<float>(CeilDiv(n, kTileDepth) * kTileDepth * kScoreSide),
          arena.Allocate<float>(d * kScoreSide),
          arena.Allocate<float>(kScoreSide),
          arena.Allocate<float>(kScoreSide)};
}

/// A block of queries [first, first + queries) of one head against all keys that they see.
struct QueryBlock {
  TileSource q;  // of the whole segment
  int64_t first, queries;
  int64_t window;
  View<float, 2> out;      // [queries, head_dim]
  float* log_sum;          // of the first query
  int64_t log_sum_stride;  // to the next
};

void ForwardBlock(const QueryBlock& block, int64_t n, const ForwardScratch& s,
                  const KernelTable& kernels) {
  const int64_t d = block.q.cols;
  // Depth comes in whole tiles.
  const int64_t first_key = FirstKey(block.first, block.window) / kTileDepth * kTileDepth;
  const int64_t keys = block.first + block.queries - first_key;
  const int64_t dim_tiles = CeilDiv(d, kTileDepth), key_tiles = CeilDiv(n, kTileDepth);
  Pack(block.q.Part(block.first, block.queries, 0, d), false, true, s.q, kernels);
  Product({s.k + first_key / kTileOutputs * dim_tiles * kTileValues, keys, dim_tiles},
          {s.q, block.queries, dim_tiles}, d, {}, MakeView(s.s, keys, kScoreSide), kernels);
  kernels.score_softmax->score_softmax({{keys, block.queries, first_key, block.first, block.window},
                                        s.s,
                                        kScoreSide,
                                        s.p,
                                        key_tiles,
                                        s.m,
                                        s.sum});
  Product({s.v + first_key / kTileDepth * kTileValues, d, key_tiles},
          {s.p, block.queries, key_tiles}, keys, {}, MakeView(s.turned, d, kScoreSide), kernels);
  for (int64_t i = 0; i < block.queries; ++i) {
    block.log_sum[i * block.log_sum_stride] = s.m[i] + std::log(s.sum[i]);
    s.sum[i] = 1.0f / s.sum[i];
  }
  kernels.turn->turn(
      {s.turned, kScoreSide, d, block.queries, s.sum, block.out.data, block.out.stride[0]});
}

}  // namespace

bool CanTileAttention(std::span<const AttentionSegment> segments) {
  return std::all_of(segments.begin(), segments.end(), [](const AttentionSegment& s) {
    return s.first_position == 0 && s.kv.format == Format::kF32 && s.rows <= s.kv.page_tokens;
  });
}

void TileAttention(const TileAttentionTask& task, const AttentionShape& shape,
                   std::span<const AttentionSegment> segments, Context& context) {
  const Arena::Scope scope(context.scratch);
  const int64_t n = LongestSegment(segments), d = shape.head_dim;
  auto* scratch = context.scratch.Allocate<ForwardScratch>(context.pool.threads());
  for (int w = 0; w < context.pool.threads(); ++w)
    scratch[w] = MakeForwardScratch(n, d, context.scratch);
  const int64_t group = shape.n_heads / shape.n_kv_heads;
  const auto units = static_cast<int64_t>(segments.size()) * shape.n_kv_heads;
  context.pool.ParallelFor(units, [&](int64_t unit, int worker) {
    const AttentionSegment& segment = segments[static_cast<size_t>(unit / shape.n_kv_heads)];
    const ForwardScratch& s = scratch[worker];
    const int64_t kv_head = unit % shape.n_kv_heads, rows = segment.rows;
    const bool paged = task.k.cols == 0;
    Pack(paged ? PageRows(segment.kv, segment.kv.k_pages, rows, kv_head)
               : RowsOf(task.k, segment, kv_head, d),
         false, false, s.k, context.kernels);
    Pack(paged ? PageRows(segment.kv, segment.kv.v_pages, rows, kv_head)
               : RowsOf(task.v, segment, kv_head, d),
         true, false, s.v, context.kernels);
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      for (int64_t first = 0; first < rows; first += kScoreSide) {
        const int64_t row = segment.first_row + first, queries = std::min(kScoreSide, rows - first);
        View<float, 2> part = task.out.Rows(row, queries);
        part.data += head * d;
        ForwardBlock({RowsOf(task.q, segment, head, d), first, queries, shape.sliding_window, part,
                      &task.log_sum[row][head], task.log_sum.stride[0]},
                     rows, s, context.kernels);
      }
    }
  });
}

namespace {

/// Memory of a worker's backward pass. Tiles of one key/value head, then of one query head.
struct BackwardScratch {
  uint16_t *k, *k_turned, *v;             // rows
  uint16_t *q, *q_turned, *o, *o_turned;  // pairs; o is d_out
  uint16_t *p, *d_s, *d_s_pairs;          // of a block of scores
  float *s, *d_p;                         // [kScoreSide, kScoreSide]
  float* d_q;                             // [head_dim, n] of one head, rows PaddedRows(n) apart
  float *d_k, *d_v;                       // [kScoreSide, head_dim] of a block of keys
  float *log_sum, *delta, *scale;         // [n]
};
/// Lines at a power of two from each other would be in the same sets of the caches.
int64_t PaddedRows(int64_t n) { return n + 16; }
BackwardScratch MakeBackwardScratch(int64_t n, int64_t d, Arena& arena) {
  const auto tiles = [&](int64_t outputs, int64_t depth) {
    return arena.Allocate<uint16_t>(TileOperand::Values(outputs, depth));
  };
  const auto floats = [&](int64_t count) { return arena.Allocate<float>(count); };
  const auto block = [&] { return arena.Allocate<uint16_t>(kBlockValues); };
  return {tiles(n, d),
          tiles(d, n),
          tiles(n, d),
          tiles(n, d),
          tiles(d, n),
          tiles(n, d),
          tiles(d, n),
          block(),
          block(),
          block(),
          floats(kBlockValues),
          floats(kBlockValues),
          floats(PaddedRows(n) * d),
          floats(kScoreSide * d),
          floats(kScoreSide * d),
          floats(n),
          floats(n),
          floats(n)};
}

/// One segment, key/value head and query head.
struct GradUnit {
  const TileAttentionGradTask& task;
  const AttentionShape& shape;
  const AttentionSegment& segment;
  const BackwardScratch& s;
  const KernelTable& kernels;
  int64_t kv_head;
  bool first_head;  // of the group: d_k and d_v are begun

  int64_t d() const { return shape.head_dim; }
  int64_t rows() const { return segment.rows; }
  int64_t row_tiles() const { return CeilDiv(rows(), kTileDepth); }
  int64_t dim_tiles() const { return CeilDiv(d(), kTileDepth); }
  /// Of operands whose outputs are rows, from row `first` on; and whose depth are rows.
  Side ByRows(const uint16_t* tiles, int64_t first, int64_t count) const {
    return {tiles + first / kTileOutputs * dim_tiles() * kTileValues, count, dim_tiles()};
  }
  Side ByDims(const uint16_t* tiles, int64_t first) const {
    return {tiles + first / kTileDepth * kTileValues, d(), row_tiles()};
  }
  View<float, 2> KeyGrad(View<float, 2> grad, int64_t first, int64_t count) const {
    View<float, 2> part = grad.Rows(segment.first_row + first, count);
    part.data += kv_head * d();
    return part;
  }
};

/// A block of keys against a block of queries; the first and the last of those that see it.
struct GradStep {
  int64_t first_key, first_query;
  bool begins, ends;
};
void GradBlock(const GradUnit& u, const GradStep& step) {
  const int64_t first_key = step.first_key, first_query = step.first_query;
  const BackwardScratch& s = u.s;
  const int64_t keys = std::min(kScoreSide, u.rows() - first_key);
  const int64_t queries = std::min(kScoreSide, u.rows() - first_query);
  const View<float, 2> scores = MakeView(s.s, keys, kScoreSide);
  const View<float, 2> d_p = MakeView(s.d_p, keys, kScoreSide);
  Product(u.ByRows(s.k, first_key, keys), u.ByRows(s.q, first_query, queries), u.d(), {}, scores,
          u.kernels);
  Product(u.ByRows(s.v, first_key, keys), u.ByRows(s.o, first_query, queries), u.d(), {}, d_p,
          u.kernels);
  const int64_t window = u.shape.sliding_window;
  u.kernels.score_grad->score_grad({{keys, queries, first_key, first_query, window},
                                    s.s,
                                    s.d_p,
                                    kScoreSide,
                                    s.log_sum + first_query,
                                    s.delta + first_query,
                                    s.p,
                                    s.d_s,
                                    s.d_s_pairs});
  // Sums over the queries stay in the cache; the other heads of the group are in memory.
  const auto key_grad = [&](const uint16_t* a, const uint16_t* b, View<float, 2> grad, float* own) {
    const View<float, 2> kept = u.KeyGrad(grad, first_key, keys), sums = MakeView(own, keys, u.d());
    const View<float, 2> from = !step.begins ? sums : u.first_head ? View<float, 2>{} : kept;
    Product({a, keys, kBlockTiles}, u.ByDims(b, first_query), queries, from,
            step.ends ? kept : sums, u.kernels);
  };
  key_grad(s.p, s.o_turned, u.task.d_v, s.d_v);
  key_grad(s.d_s, s.q_turned, u.task.d_k, s.d_k);
  const int64_t begin = FirstKey(first_query, window) / kScoreSide * kScoreSide;
  const View<float, 2> d_q = {s.d_q + first_query, {u.d(), queries}, {PaddedRows(u.rows()), 1}};
  Product(u.ByDims(s.k_turned, first_key), {s.d_s_pairs, queries, kBlockTiles}, keys,
          first_key > begin ? d_q : View<float, 2>{}, d_q, u.kernels);
}

void GradHead(const GradUnit& u, int64_t head) {
  const BackwardScratch& s = u.s;
  const TileSource q = RowsOf(u.task.q, u.segment, head, u.d());
  const TileSource d_out = RowsOf(u.task.d_out, u.segment, head, u.d());
  Pack(q, false, true, s.q, u.kernels);
  Pack(q, true, true, s.q_turned, u.kernels);
  Pack(d_out, false, true, s.o, u.kernels);
  Pack(d_out, true, true, s.o_turned, u.kernels);
  for (int64_t i = 0; i < u.rows(); ++i) {
    s.log_sum[i] = u.task.log_sum[u.segment.first_row + i][head];
    s.delta[i] = u.task.delta[u.segment.first_row + i][head];
  }
  const int64_t window = u.shape.sliding_window;
  for (int64_t key = 0; key < u.rows(); key += kScoreSide) {
    // The last key of the block is seen up to this position.
    const int64_t last = std::min(key + kScoreSide, u.rows()) - 1;
    const int64_t end = window > 0 ? std::min(u.rows(), last + window) : u.rows();
    for (int64_t query = key; query < end; query += kScoreSide)
      GradBlock(u, {key, query, query == key, query + kScoreSide >= end});
  }
  float* d_q = u.task.d_q[u.segment.first_row].data + head * u.d();
  u.kernels.turn->turn(
      {s.d_q, PaddedRows(u.rows()), u.d(), u.rows(), s.scale, d_q, u.task.d_q.stride[0]});
}

}  // namespace

void TileAttentionGrad(const TileAttentionGradTask& task, const AttentionShape& shape,
                       std::span<const AttentionSegment> segments, Context& context) {
  const Arena::Scope scope(context.scratch);
  const int64_t n = LongestSegment(segments), d = shape.head_dim;
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)));
  auto* scratch = context.scratch.Allocate<BackwardScratch>(context.pool.threads());
  for (int w = 0; w < context.pool.threads(); ++w) {
    scratch[w] = MakeBackwardScratch(n, d, context.scratch);
    std::fill_n(scratch[w].scale, n, scale);
  }
  const auto units = static_cast<int64_t>(segments.size()) * shape.n_kv_heads;
  context.pool.ParallelFor(units, [&](int64_t unit, int worker) {
    const AttentionSegment& segment = segments[static_cast<size_t>(unit / shape.n_kv_heads)];
    const BackwardScratch& s = scratch[worker];
    const int64_t kv_head = unit % shape.n_kv_heads, group = shape.n_heads / shape.n_kv_heads;
    const TileSource k = RowsOf(task.k, segment, kv_head, d);
    Pack(k, false, false, s.k, context.kernels);
    Pack(k, true, false, s.k_turned, context.kernels);
    Pack(RowsOf(task.v, segment, kv_head, d), false, false, s.v, context.kernels);
    for (int64_t h = 0; h < group; ++h) {
      GradHead({task, shape, segment, s, context.kernels, kv_head, h == 0}, kv_head * group + h);
    }
  });
}

}  // namespace octet
