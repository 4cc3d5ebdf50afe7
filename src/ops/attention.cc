#include "ops/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/attention_spans.h"
#include "ops/rows.h"
#include "ops/tile_attention.h"

namespace octet {
namespace {

/// Query rows that share one pass over the keys: each decoded block serves all of them.
constexpr int64_t kQueryTile = 32;
/// Stretches of work a thread gets at least, where there are as many, so that none ends late.
constexpr int64_t kRunsPerThread = 8;

/// One unit of work: up to kQueryTile rows of a segment against one key/value head.
struct Tile {
  const AttentionSegment* segment;
  int64_t first, rows;  // within the segment
  int64_t kv_head;
};

/// [T, n_heads · head_dim], and [T, n_heads] or empty.
struct Outputs {
  View<float, 2> out;
  View<float, 2> log_sum;
};

struct WorkerScratch {
  std::byte* k;  // [kKeyBlock] rows of head_dim floats, or of stored values
  std::byte* v;
  float* m;    // [kQueryTile, group]
  float* l;    // [kQueryTile, group]
  float* acc;  // [kQueryTile, group, head_dim]
};

/// A block of keys and values where the kernel can read it.
struct KeyBlock {
  const std::byte* k;
  const std::byte* v;
  int64_t row_bytes;
};

int64_t TileCount(const AttentionSegment& segment) {
  return (segment.rows + kQueryTile - 1) / kQueryTile;
}

/// Rows up to this long are asked for a block ahead: so few bytes stay near meanwhile.
constexpr int64_t kAheadRowBytes = 128;

/// Where the kernel reads keys and values from `begin` on in place.
bool LiesInPages(const KvView& kv, Format format) {
  return format == kv.format && kv.page_tokens % kKeyBlock == 0;
}
KeyBlock BlockInPage(const KvView& kv, int64_t kv_head, int64_t begin) {
  const int64_t page = begin / kv.page_tokens, offset = kv.Offset(begin, kv_head);
  return {kv.k_pages[page] + offset, kv.v_pages[page] + offset, kv.row_bytes()};
}

/// Keys and values [begin, end) of one head, as the kernel for `format` wants them: in their page
/// where the block lies in one, gathered or decoded to scratch otherwise.
KeyBlock LoadKeyBlock(const KvView& kv, int64_t kv_head, int64_t begin, int64_t end, Format format,
                      const WorkerScratch& scratch) {
  if (LiesInPages(kv, format)) return BlockInPage(kv, kv_head, begin);
  const int64_t row_bytes = FormatBytes(format, kv.head_dim);
  const DecodeFn decode = Info(kv.format).decode;
  for (int64_t position = begin; position < end; ++position) {
    const int64_t page = position / kv.page_tokens, offset = kv.Offset(position, kv_head);
    const int64_t row = (position - begin) * row_bytes;
    if (format == kv.format) {
      std::memcpy(scratch.k + row, kv.k_pages[page] + offset, static_cast<size_t>(row_bytes));
      std::memcpy(scratch.v + row, kv.v_pages[page] + offset, static_cast<size_t>(row_bytes));
    } else {
      decode(kv.k_pages[page] + offset, kv.head_dim, reinterpret_cast<float*>(scratch.k + row));
      decode(kv.v_pages[page] + offset, kv.head_dim, reinterpret_cast<float*>(scratch.v + row));
    }
  }
  return {scratch.k, scratch.v, row_bytes};
}

/// The kernel that reads the pages as they are, or the one for floats.
const KernelDescriptor& KernelFor(Format format, const KernelTable& kernels) {
  const KernelDescriptor* direct = kernels.attend_block[static_cast<size_t>(format)];
  return direct != nullptr ? *direct : *kernels.attend_block[static_cast<size_t>(Format::kF32)];
}

/// First key position that a query at `position` sees.
int64_t FirstKey(int64_t position, int64_t window) {
  return window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
}

/// The block of keys that a tile begins with.
int64_t FirstBlock(const Tile& tile, const AttentionShape& shape) {
  return FirstKey(tile.segment->first_position + tile.first, shape.sliding_window) / kKeyBlock;
}

/// `next`: what this thread computes afterwards, or null.
void RunTile(const Tile& tile, const Tile* next, const AttentionShape& shape, View<float, 2> q,
             const Outputs& outputs, const WorkerScratch& scratch, const KernelTable& kernels) {
  const KernelDescriptor& kernel = KernelFor(tile.segment->kv.format, kernels);
  const int64_t d = shape.head_dim, group = shape.n_heads / shape.n_kv_heads;
  const int64_t first_position = tile.segment->first_position + tile.first;
  const int64_t last_position = first_position + tile.rows - 1;
  const int64_t first_row = tile.segment->first_row + tile.first;
  std::fill_n(scratch.m, tile.rows * group, -std::numeric_limits<float>::infinity());
  std::fill_n(scratch.l, tile.rows * group, 0.0f);
  std::fill_n(scratch.acc, tile.rows * group * d, 0.0f);

  const bool ahead = LiesInPages(tile.segment->kv, kernel.format) &&
                     tile.segment->kv.row_bytes() <= kAheadRowBytes;
  for (int64_t block = FirstBlock(tile, shape); block * kKeyBlock <= last_position; ++block) {
    const int64_t base = block * kKeyBlock;
    const int64_t stop = std::min(base + kKeyBlock, last_position + 1);
    const KeyBlock keys =
        LoadKeyBlock(tile.segment->kv, tile.kv_head, base, stop, kernel.format, scratch);
    KeyBlock coming = {};
    if (ahead && stop <= last_position) {
      coming = BlockInPage(tile.segment->kv, tile.kv_head, stop);
    } else if (ahead && next != nullptr) {
      coming = BlockInPage(next->segment->kv, next->kv_head, FirstBlock(*next, shape) * kKeyBlock);
    }
    for (int64_t r = 0; r < tile.rows; ++r) {
      const int64_t position = first_position + r;
      const int64_t begin = std::max(FirstKey(position, shape.sliding_window), base);
      const int64_t end = std::min(position + 1, stop);
      if (begin >= end) continue;
      AttendBlockArgs args;
      args.q = q[first_row + r].data + tile.kv_head * group * d;
      args.q_stride = d;
      args.k = keys.k;
      args.v = keys.v;
      args.kv_row_bytes = keys.row_bytes;
      args.begin = static_cast<int32_t>(begin - base);
      args.end = static_cast<int32_t>(end - base);
      args.heads = static_cast<int32_t>(group);
      args.head_dim = static_cast<int32_t>(d);
      args.m = scratch.m + r * group;
      args.l = scratch.l + r * group;
      args.acc = scratch.acc + r * group * d;
      args.next_k = r == 0 ? coming.k : nullptr;
      args.next_v = r == 0 ? coming.v : nullptr;
      kernel.attend_block(args);
    }
  }
  for (int64_t r = 0; r < tile.rows; ++r) {
    for (int64_t h = 0; h < group; ++h) {
      const float inverse = 1.0f / scratch.l[r * group + h];
      const float* acc = scratch.acc + (r * group + h) * d;
      const int64_t head = tile.kv_head * group + h;
      float* o = outputs.out[first_row + r].data + head * d;
      for (int64_t i = 0; i < d; ++i) o[i] = acc[i] * inverse;
      if (outputs.log_sum.data != nullptr) {
        outputs.log_sum[first_row + r][head] =
            scratch.m[r * group + h] + std::log(scratch.l[r * group + h]);
      }
    }
  }
}

WorkerScratch AllocateScratch(const AttentionShape& shape, Arena& arena) {
  const int64_t d = shape.head_dim, group = shape.n_heads / shape.n_kv_heads;
  const auto block_bytes =
      static_cast<size_t>(kKeyBlock * d) * sizeof(float);  // no format is larger
  return {arena.AllocateBytes(block_bytes), arena.AllocateBytes(block_bytes),
          arena.Allocate<float>(kQueryTile * group), arena.Allocate<float>(kQueryTile * group),
          arena.Allocate<float>(kQueryTile * group * d)};
}

/// Row `i` of a segment, every head of it.
void AppendRow(View<const float, 2> k, View<const float, 2> v, const AttentionSegment& segment,
               int64_t i, const Context& context) {
  const KvView& kv = segment.kv;
  const KernelDescriptor* kernel = context.kernels.encode[static_cast<size_t>(kv.format)];
  const EncodeFn encode = kernel != nullptr ? kernel->encode : Info(kv.format).encode;
  const int64_t d = kv.head_dim, position = segment.first_position + i;
  const int64_t page = position / kv.page_tokens;
  const float* k_row = k[segment.first_row + i].data;
  const float* v_row = v[segment.first_row + i].data;
  for (int64_t head = 0; head < kv.n_kv_heads; ++head) {
    const int64_t offset = kv.Offset(position, head);
    encode(k_row + head * d, d, kv.k_pages[page] + offset);
    encode(v_row + head * d, d, kv.v_pages[page] + offset);
  }
}

}  // namespace

void AppendKv(View<const float, 2> k, View<const float, 2> v,
              std::span<const AttentionSegment> segments, Context& context) {
  if (segments.empty()) return;
  const PartScope part(context.profile, StepPart::kAppendKv);
  const Arena::Scope scope(context.scratch);
  const auto n = static_cast<int64_t>(segments.size());
  // Rows of all segments in one numbering: decoding many sequences, each has a single one.
  auto* starts = context.scratch.Allocate<int64_t>(n);
  int64_t rows = 0;
  for (int64_t i = 0; i < n; ++i) {
    starts[i] = rows;
    rows += segments[static_cast<size_t>(i)].rows;
  }
  // What is written is rarely near: a line takes as long as computing hundreds of values.
  constexpr int64_t kLineCost = 8;
  const KvView& any = segments[0].kv;
  ForEachRow(rows, kLineCost * 2 * any.head_dim * any.n_kv_heads, context, [&](int64_t row) {
    const int64_t i = std::upper_bound(starts, starts + n, row) - starts - 1;
    AppendRow(k, v, segments[static_cast<size_t>(i)], row - starts[i], context);
  });
}

void Attention(View<float, 2> q, const AttentionShape& shape,
               std::span<const AttentionSegment> segments, View<float, 2> out, Context& context,
               View<float, 2> log_sum) {
  if (segments.empty()) return;
  const PartScope part(context.profile, StepPart::kAttention);
  // All segments of a step lie in one cache, of one format.
  const KernelDescriptor* spans = SpanKernel(shape, segments[0].kv.format, context);
  if (spans != nullptr && log_sum.data == nullptr)
    return SpanAttention(*spans, q, shape, segments, out, context);
  Arena::Scope scope(context.scratch);
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
  ForEachRow(q.shape[0], q.shape[1], context,
             [&](int64_t t) { ScaleRow(q[t].data, scale, q.shape[1], false, q[t].data, context); });
  const bool tiled = context.arithmetic == Arithmetic::kBf16 && log_sum.data != nullptr;
  if (tiled && CanTileAttention(segments))
    return TileAttention({q, {}, {}, out, log_sum}, shape, segments, context);

  int64_t n_tiles = 0;
  for (const AttentionSegment& segment : segments) n_tiles += TileCount(segment) * shape.n_kv_heads;
  auto* tiles = context.scratch.Allocate<Tile>(n_tiles);
  int64_t n = 0;
  for (const AttentionSegment& segment : segments) {
    // The last rows see the most keys: start with them, so that the longest tiles do not end the
    // step.
    for (int64_t i = TileCount(segment) - 1; i >= 0; --i) {
      for (int64_t head = 0; head < shape.n_kv_heads; ++head) {
        const int64_t first = i * kQueryTile;
        tiles[n++] = {&segment, first, std::min(kQueryTile, segment.rows - first), head};
      }
    }
  }
  auto* scratch = context.scratch.Allocate<WorkerScratch>(context.pool.threads());
  for (int w = 0; w < context.pool.threads(); ++w)
    scratch[w] = AllocateScratch(shape, context.scratch);
  // A thread takes a few tiles in a row, so that it knows what to ask memory for next.
  const int64_t run =
      std::clamp<int64_t>(n_tiles / (kRunsPerThread * context.pool.threads()), 1, shape.n_kv_heads);
  context.ParallelFor((n_tiles + run - 1) / run, [&](int64_t task, int worker) {
    const int64_t end = std::min(n_tiles, (task + 1) * run);
    for (int64_t i = task * run; i < end; ++i) {
      RunTile(tiles[i], i + 1 < end ? &tiles[i + 1] : nullptr, shape, q, {out, log_sum},
              scratch[worker], context.kernels);
    }
  });
}

}  // namespace octet
