// Span attention in bf16 tiles. Scores: keys × queries (A = 16 keys as they lie in a page, B =
// queries in pairs of dims), so that the softmax has queries in its lanes. Values: queries × dims
// (A = weights, B = values in pairs of keys). One row of a model with grouped queries fills 4 to 16
// lanes and streams the keys from memory ("narrow"); prompts share each converted chunk among many
// tiles of 16 ("wide").
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_amx_bf16/kv_rows.h"
#include "kernels/x86_amx_bf16/span_softmax.h"
#include "kernels/x86_amx_int8/tiles.h"
#include "kernels/x86_avx512/merge_span.h"

/// tmm[c] += A (bf16) · B (bf16)
#define OCTET_TILE_DOT_BF16(c, a, b) asm volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::)

namespace octet {
namespace {

constexpr int32_t kKeyTiles = kSpanChunk / 16, kSteps = kSpanChunk / 32;
constexpr int32_t kMaxTiles = kSpanQueries / 16;
constexpr int32_t kMaxDimSteps = kSpanHeadDimMax / 32, kMaxDimTiles = kSpanHeadDimMax / 16;

/// Memory of one call, in AttendSpanArgs::scratch.
struct alignas(64) Work {
  std::byte keys[kKeyTiles * kMaxDimSteps * kTileBytes];     // [key tile][32 dims] tiles
  std::byte values[kSteps * kMaxDimTiles * kTileBytes];      // [32 keys][16 dims] tiles
  std::byte queries[kMaxTiles * kMaxDimSteps * kTileBytes];  // [query tile][32 dims] tiles
  std::byte weights[2][kSteps * kTileBytes];
  float score[2][kSpanChunk * 16];
  float out[kMaxTiles][kMaxDimTiles * 256];  // [query tile][16 dims] tiles of sums
  QueryTile tile[kMaxTiles];
  std::byte zeros[kSpanHeadDimMax * 2];
  const std::byte* rows[2][2][kSpanChunk];  // of this chunk and the next: keys, values
};

/// Keys of a chunk, relative to it: [first, last) are walked, multiples of 32; of these the rows
/// see some of [begin, end).
struct Range {
  int64_t base;
  int32_t begin, end, first, last;
};

/// Sets tiles 0–3 (sums), 4–5 and 6–7 to `rows` × `bytes`.
struct TileShape {
  int rows, bytes;
};
void Configure(TileShape sums, TileShape a, TileShape b) {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    const TileShape& shape = i < 4 ? sums : i < 6 ? a : b;
    config.rows[i] = static_cast<uint8_t>(shape.rows);
    config.row_bytes[i] = static_cast<uint16_t>(shape.bytes);
  }
  asm volatile("ldtilecfg %0" ::"m"(config));
}

int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t Most(int64_t a, int64_t b) { return a > b ? a : b; }

template <class Rows>
class Span {
 public:
  explicit Span(const AttendSpanArgs& args)
      : args_(args),
        work_(*reinterpret_cast<Work*>(args.scratch)),
        queries_(args.rows * args.group),
        dim_steps_(args.head_dim / 32),
        dim_tiles_(args.head_dim / 16) {}

  void Run() {
    for (std::byte& zero : work_.zeros) zero = std::byte{0};
    if (queries_ <= 4) {
      RunNarrow<4>();
    } else if (queries_ <= 8) {
      RunNarrow<8>();
    } else if (queries_ <= 16) {
      RunNarrow<16>();
    } else {
      RunWide();
    }
  }

 private:
  int64_t FirstKey(int64_t position) const {
    return args_.window > 0 ? Most(0, position - args_.window + 1) : 0;
  }

  /// First and one past the last key of the span that any row sees.
  int64_t SpanFirst() const { return Most(args_.begin, FirstKey(args_.first_position)); }
  int64_t SpanEnd() const { return Least(args_.end, args_.first_position + args_.rows); }

  /// The chunk at `base`, cut at `end`.
  Range RangeOf(int64_t base, int64_t end) const {
    Range r;
    r.base = base;
    r.begin = static_cast<int32_t>(Most(SpanFirst() - base, 0));
    r.end = static_cast<int32_t>(Least(end - base, kSpanChunk));
    r.first = r.begin / 32 * 32;
    r.last = (r.end + 31) / 32 * 32;
    return r;
  }

  /// Where the chunk's keys and values lie; zeros where they are walked but not seen.
  void FindRows(const Range& range, const std::byte** keys, const std::byte** values) {
    for (int32_t j = 0; j < range.begin; ++j) keys[j] = values[j] = work_.zeros;
    for (int32_t j = range.end > 0 ? range.end : 0; j < kSpanChunk; ++j)
      keys[j] = values[j] = work_.zeros;
    int64_t page = (range.base + range.begin) / args_.page_tokens;
    int64_t token = (range.base + range.begin) % args_.page_tokens;
    for (int32_t j = range.begin; j < range.end; ++page, token = 0) {
      const int64_t offset = args_.head_offset + token * args_.row_bytes;
      const auto n = static_cast<int32_t>(Least(args_.page_tokens - token, range.end - j));
      FillRows(args_.k_pages[page] + offset, n, keys + j);
      FillRows(args_.v_pages[page] + offset, n, values + j);
      j += n;
    }
  }

  /// Addresses of n rows side by side.
  void FillRows(const std::byte* first, int32_t n, const std::byte** rows) const {
    const __m512i eight = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    const __m512i step = _mm512_set1_epi64(8 * args_.row_bytes);
    __m512i next = _mm512_add_epi64(_mm512_set1_epi64(reinterpret_cast<int64_t>(first)),
                                    _mm512_mullo_epi64(eight, _mm512_set1_epi64(args_.row_bytes)));
    for (int32_t i = 0; i < n; i += 8, next = _mm512_add_epi64(next, step)) {
      const auto mask = static_cast<__mmask8>(n - i >= 8 ? 0xff : (1u << (n - i)) - 1);
      _mm512_mask_storeu_epi64(rows + i, mask, next);
    }
  }

  /// Query tile t: pairs of dims as rows, `lanes` queries as columns, the empty ones zero.
  void PackQueries(int32_t t, int32_t lanes) {
    const __m512 scale = _mm512_set1_ps(args_.scale * 1.44269504f);
    std::byte* tiles = work_.queries + static_cast<int64_t>(t) * dim_steps_ * kTileBytes;
    for (int32_t lane = 0; lane < lanes; ++lane) {
      const int32_t query = 16 * t + lane;
      const float* q = query >= queries_ ? nullptr
                                         : args_.q + query / args_.group * args_.q_stride +
                                               query % args_.group * args_.head_dim;
      for (int32_t c = 0; c < dim_steps_; ++c) {
        alignas(64) uint32_t pairs[16] = {};
        if (q != nullptr) {
          const __m512 low = _mm512_mul_ps(_mm512_loadu_ps(q + 32 * c), scale);
          const __m512 high = _mm512_mul_ps(_mm512_loadu_ps(q + 32 * c + 16), scale);
          _mm512_store_si512(pairs, Bf16Pair(low, high));
        }
        auto* tile = reinterpret_cast<uint32_t*>(tiles + c * kTileBytes);
        for (int i = 0; i < 16; ++i) tile[i * 16 + lane] = pairs[i];
      }
    }
  }

  void Start(int32_t t, int32_t lanes) {
    PackQueries(t, lanes);
    work_.tile[t].m = _mm512_set1_ps(kLowest);
    work_.tile[t].l = _mm512_setzero_ps();
    for (int32_t i = 0; i < dim_tiles_ * 16; ++i) {
      _mm512_store_ps(work_.out[t] + i * 16, _mm512_setzero_ps());
    }
  }

  /// Which keys of the chunk the queries of tile t see; lane i has query i % lanes.
  void Look(int32_t t, int32_t lanes, const Range& range) {
    alignas(64) int32_t begin[16], end[16];
    bool masked = false;
    for (int32_t lane = 0; lane < 16; ++lane) {
      const int32_t query = 16 * t + lane % lanes;
      const int64_t position = args_.first_position + query / args_.group;
      // A lane without a query has zeros and sees what it likes.
      begin[lane] = query >= queries_
                        ? 0
                        : static_cast<int32_t>(Most(FirstKey(position) - range.base, range.begin));
      end[lane] = query >= queries_
                      ? kSpanChunk
                      : static_cast<int32_t>(Most(Least(position + 1 - range.base, range.end), 0));
      masked |= begin[lane] > range.first || end[lane] < range.last;
    }
    work_.tile[t].begin = _mm512_load_si512(begin);
    work_.tile[t].end = _mm512_load_si512(end);
    work_.tile[t].masked = masked;
  }

  /// The sums of tile t times their queries' factors.
  void Decay(int32_t t, int32_t lanes, __m512 decay) {
    if (_mm512_cmp_ps_mask(decay, _mm512_set1_ps(1.0f), _CMP_NEQ_UQ) == 0) return;
    alignas(64) float factor[16];
    _mm512_store_ps(factor, decay);
    for (int32_t q = 0; q < lanes; ++q) {
      const __m512 f = _mm512_set1_ps(factor[q]);
      for (int32_t d = 0; d < dim_tiles_; ++d) {
        float* row = work_.out[t] + d * 256 + q * 16;
        _mm512_store_ps(row, _mm512_mul_ps(_mm512_load_ps(row), f));
      }
    }
  }

  void Finish(int32_t t) {
    alignas(64) float m[16], l[16];
    _mm512_store_ps(m, work_.tile[t].m);
    _mm512_store_ps(l, work_.tile[t].l);
    for (int32_t lane = 0; lane < 16 && 16 * t + lane < queries_; ++lane) {
      const int64_t query = 16 * t + lane;
      args_.m[query] = m[lane];
      args_.l[query] = l[lane];
      for (int32_t c = 0; c < dim_steps_; ++c) {
        const float* first = work_.out[t] + 2 * c * 256 + lane * 16;
        NaturalDims(_mm512_load_ps(first), _mm512_load_ps(first + 256),
                    args_.acc + query * args_.head_dim + 32 * c);
      }
    }
  }

  // ---- One tile of queries: everything in the first-level cache, the keys streamed.

  template <int N>
  void RunNarrow() {
    Start(0, N);
    int current = 0;
    Range range = RangeOf(SpanFirst() / kSpanChunk * kSpanChunk, SpanEnd());
    FindRows(range, work_.rows[0][0], work_.rows[0][1]);
    if (!args_.continues) {
      later_.Start(work_.rows[0][0], work_.rows[0][1], args_.row_bytes);
      later_.AskAll();
    }
    while (range.base < SpanEnd()) {
      // After the span's last chunk come those of the next span, most likely on this thread too.
      const int64_t next_base = range.base + kSpanChunk, end = args_.first_position + args_.rows;
      const Range next = RangeOf(next_base, next_base < SpanEnd() ? SpanEnd() : end);
      later_.Stop();
      if (next_base < end) {
        FindRows(next, work_.rows[1 - current][0], work_.rows[1 - current][1]);
        later_.Start(work_.rows[1 - current][0], work_.rows[1 - current][1], args_.row_bytes);
      }
      Look(0, N, range);
      ScoresNarrow<N>(range, work_.rows[current][0]);
      const __m512 decay = Weigh<N>(&work_.tile[0], range.first, range.last, work_.score[0],
                                    work_.weights[0], &later_);
      Decay(0, N, decay);
      ValuesNarrow<N>(range, work_.rows[current][1]);
      range = next;
      current = 1 - current;
    }
    ReleaseTiles();
    Finish(0);
  }

  /// 16 keys as tiles: tile c is at data + c · tile, a key `stride` further than the last.
  struct KeyTiles {
    const std::byte* data;
    int64_t stride, tile;
  };

  /// Tiles of keys [32 · step, + 32): in their page, where they are bf16 side by side, or
  /// converted.
  void FindKeyTiles(const std::byte* const* keys, int32_t step, KeyTiles* found) {
    for (int32_t half = 0; half < 2; ++half) {
      const std::byte* const* rows = keys + 32 * step + 16 * half;
      bool side_by_side = Rows::kAreTiles;
      for (int i = 1; i < 16 && side_by_side; ++i) {
        side_by_side = rows[i] == rows[0] + i * args_.row_bytes;
      }
      if (side_by_side) {
        found[half] = {rows[0], args_.row_bytes, 64};
        continue;
      }
      std::byte* tiles = work_.keys + (2 * (step % 2) + half) * dim_steps_ * kTileBytes;
      KeysToTiles<Rows>(rows, dim_steps_, tiles, &later_);
      found[half] = {tiles, 64, kTileBytes};
    }
  }

  template <int N>
  void ScoresNarrow(const Range& range, const std::byte* const* keys) {
    Configure({16, 4 * N}, {16, 64}, {16, 4 * N});
    const int32_t first = range.first / 32, last = range.last / 32;
    KeyTiles tiles[2][2];
    FindKeyTiles(keys, first, tiles[first % 2]);
    // Keys that are not converted leave their share to the products.
    const int32_t ask = kAskPerKeyProduct + (Rows::kAreTiles ? 32 * kAskPerKey / dim_steps_ : 0);
    for (int32_t step = first; step < last; ++step) {
      // Converted a step ahead, so that no tile is loaded while its stores are under way.
      if (step + 1 < last) FindKeyTiles(keys, step + 1, tiles[(step + 1) % 2]);
      const KeyTiles &k0 = tiles[step % 2][0], &k1 = tiles[step % 2][1];
      const std::byte* q = work_.queries;
      OCTET_TILE_ZERO(0);
      OCTET_TILE_ZERO(1);
      for (int32_t c = 0; c < dim_steps_; ++c) {
        OCTET_TILE_LOAD(6, q + c * kTileBytes, 64);
        OCTET_TILE_LOAD(4, k0.data + c * k0.tile, k0.stride);
        OCTET_TILE_DOT_BF16(0, 4, 6);
        OCTET_TILE_LOAD(5, k1.data + c * k1.tile, k1.stride);
        OCTET_TILE_DOT_BF16(1, 5, 6);
        later_.Ask(ask);
      }
      float* score = work_.score[0] + step * 32 * N;
      OCTET_TILE_STORE(0, score, 4 * N);
      OCTET_TILE_STORE(1, score + 16 * N, 4 * N);
    }
  }

  template <int N>
  void ValuesNarrow(const Range& range, const std::byte* const* values) {
    Configure({N, 64}, {N, 64}, {16, 64});
    const int32_t first = range.first / 32, last = range.last / 32, groups = dim_tiles_ / 4;
    for (int32_t g = 0; g < groups; ++g) {
      const auto convert = [&](int32_t step) {
        ValuesToTiles<Rows>(values + 32 * step, 64 * g, 2,
                            work_.values + 4 * (step % 2) * kTileBytes, &later_);
      };
      float* out = work_.out[0] + g * 4 * 256;
      OCTET_TILE_LOAD(0, out, 64);
      OCTET_TILE_LOAD(1, out + 256, 64);
      OCTET_TILE_LOAD(2, out + 512, 64);
      OCTET_TILE_LOAD(3, out + 768, 64);
      convert(first);
      for (int32_t step = first; step < last; ++step) {
        if (step + 1 < last) convert(step + 1);
        const std::byte* v = work_.values + 4 * (step % 2) * kTileBytes;
        OCTET_TILE_LOAD(4, work_.weights[0] + step * kTileBytes, 64);
        OCTET_TILE_LOAD(6, v, 64);
        OCTET_TILE_DOT_BF16(0, 4, 6);
        OCTET_TILE_LOAD(7, v + kTileBytes, 64);
        OCTET_TILE_DOT_BF16(1, 4, 7);
        OCTET_TILE_LOAD(6, v + 2 * kTileBytes, 64);
        OCTET_TILE_DOT_BF16(2, 4, 6);
        OCTET_TILE_LOAD(7, v + 3 * kTileBytes, 64);
        OCTET_TILE_DOT_BF16(3, 4, 7);
        later_.Ask(kAskPerValueProduct);
      }
      OCTET_TILE_STORE(0, out, 64);
      OCTET_TILE_STORE(1, out + 256, 64);
      OCTET_TILE_STORE(2, out + 512, 64);
      OCTET_TILE_STORE(3, out + 768, 64);
    }
  }

  // ---- Many tiles of queries: each chunk converted once, then taken by pairs of tiles.

  void RunWide() {
    const int32_t tiles = (queries_ + 15) / 16;
    for (int32_t t = 0; t < tiles; ++t) Start(t, 16);
    Configure({16, 64}, {16, 64}, {16, 64});
    later_.Stop();
    for (int64_t base = SpanFirst() / kSpanChunk * kSpanChunk; base < SpanEnd();
         base += kSpanChunk) {
      const Range range = RangeOf(base, SpanEnd());
      ConvertChunk(range);
      for (int32_t t = 0; t < tiles; t += 2) {
        if (t + 1 < tiles) {
          RunTiles<2>(t, range);
        } else {
          RunTiles<1>(t, range);
        }
      }
    }
    ReleaseTiles();
    for (int32_t t = 0; t < tiles; ++t) Finish(t);
  }

  void ConvertChunk(const Range& range) {
    const std::byte **keys = work_.rows[0][0], **values = work_.rows[0][1];
    FindRows(range, keys, values);
    for (int32_t step = range.first / 32; step < range.last / 32; ++step) {
      for (int32_t tile = 2 * step; tile < 2 * step + 2; ++tile) {
        KeysToTiles<Rows>(keys + 16 * tile, dim_steps_, work_.keys + tile * dim_steps_ * kTileBytes,
                          &later_);
      }
      ValuesToTiles<Rows>(values + 32 * step, 0, dim_steps_,
                          work_.values + step * dim_tiles_ * kTileBytes, &later_);
    }
  }

  /// Tiles t … t + T - 1 against the chunk.
  template <int T>
  void RunTiles(int32_t t, Range range) {
    // Only the keys that these queries see.
    const int64_t first_row = 16 * t / args_.group;
    const int64_t last_row = (Least(16 * (t + T), queries_) - 1) / args_.group;
    const int64_t begin = FirstKey(args_.first_position + first_row) - range.base;
    const int64_t end = args_.first_position + last_row + 1 - range.base;
    range.begin = static_cast<int32_t>(Most(range.begin, Least(begin, kSpanChunk)));
    range.end = static_cast<int32_t>(Least(range.end, Most(end, 0)));
    if (range.begin >= range.end) return;
    range.first = range.begin / 32 * 32;
    range.last = (range.end + 31) / 32 * 32;
    ScoresWide<T>(t, range);
    for (int i = 0; i < T; ++i) {
      Look(t + i, 16, range);
      Decay(t + i, 16,
            Weigh<16>(&work_.tile[t + i], range.first, range.last, work_.score[i], work_.weights[i],
                      &later_));
    }
    ValuesWide<T>(t, range);
  }

  template <int T>
  void ScoresWide(int32_t t, const Range& range) {
    const std::byte* q0 = work_.queries + static_cast<int64_t>(t) * dim_steps_ * kTileBytes;
    const std::byte* q1 = q0 + dim_steps_ * kTileBytes;
    for (int32_t step = range.first / 32; step < range.last / 32; ++step) {
      const std::byte* k0 = work_.keys + 2 * step * dim_steps_ * kTileBytes;
      const std::byte* k1 = k0 + dim_steps_ * kTileBytes;
      OCTET_TILE_ZERO(0);
      OCTET_TILE_ZERO(1);
      OCTET_TILE_ZERO(2);
      OCTET_TILE_ZERO(3);
      for (int64_t c = 0; c < dim_steps_ * kTileBytes; c += kTileBytes) {
        OCTET_TILE_LOAD(4, k0 + c, 64);
        OCTET_TILE_LOAD(6, q0 + c, 64);
        OCTET_TILE_DOT_BF16(0, 4, 6);
        OCTET_TILE_LOAD(5, k1 + c, 64);
        OCTET_TILE_DOT_BF16(1, 5, 6);
        if (T == 2) {
          OCTET_TILE_LOAD(7, q1 + c, 64);
          OCTET_TILE_DOT_BF16(2, 4, 7);
          OCTET_TILE_DOT_BF16(3, 5, 7);
        }
      }
      OCTET_TILE_STORE(0, work_.score[0] + step * 512, 64);
      OCTET_TILE_STORE(1, work_.score[0] + step * 512 + 256, 64);
      if (T == 2) {
        OCTET_TILE_STORE(2, work_.score[1] + step * 512, 64);
        OCTET_TILE_STORE(3, work_.score[1] + step * 512 + 256, 64);
      }
    }
  }

  template <int T>
  void ValuesWide(int32_t t, const Range& range) {
    const int64_t step_bytes = dim_tiles_ * kTileBytes;
    for (int32_t d = 0; d < dim_tiles_; d += 2) {
      const std::byte* v = work_.values + d * kTileBytes;
      float *out0 = work_.out[t] + d * 256, *out1 = work_.out[t + T - 1] + d * 256;
      OCTET_TILE_LOAD(0, out0, 64);
      OCTET_TILE_LOAD(1, out0 + 256, 64);
      if (T == 2) {
        OCTET_TILE_LOAD(2, out1, 64);
        OCTET_TILE_LOAD(3, out1 + 256, 64);
      }
      for (int32_t step = range.first / 32; step < range.last / 32; ++step) {
        OCTET_TILE_LOAD(4, work_.weights[0] + step * kTileBytes, 64);
        OCTET_TILE_LOAD(6, v + step * step_bytes, 64);
        OCTET_TILE_DOT_BF16(0, 4, 6);
        OCTET_TILE_LOAD(7, v + step * step_bytes + kTileBytes, 64);
        OCTET_TILE_DOT_BF16(1, 4, 7);
        if (T == 2) {
          OCTET_TILE_LOAD(5, work_.weights[1] + step * kTileBytes, 64);
          OCTET_TILE_DOT_BF16(2, 5, 6);
          OCTET_TILE_DOT_BF16(3, 5, 7);
        }
      }
      OCTET_TILE_STORE(0, out0, 64);
      OCTET_TILE_STORE(1, out0 + 256, 64);
      if (T == 2) {
        OCTET_TILE_STORE(2, out1, 64);
        OCTET_TILE_STORE(3, out1 + 256, 64);
      }
    }
  }

  const AttendSpanArgs& args_;
  Work& work_;
  NextChunk later_;
  const int32_t queries_, dim_steps_, dim_tiles_;
};

template <class Rows>
void AttendSpan(const AttendSpanArgs& args) {
  Span<Rows>(args).Run();
}

}  // namespace

#define OCTET_ATTEND_SPAN(format_name, id, rows)                                         \
  {                                                                                      \
    .name = "x86_amx_bf16/attend_span." format_name, .op = KernelOp::kAttendSpan,        \
    .isa = kIsaAvx512 | kIsaAvx512Vnni | kIsaAmxBf16, .speed = 40, .format = Format::id, \
    .scratch_floats = sizeof(Work) / sizeof(float), .attend_span = AttendSpan<rows>,     \
    .merge_span = MergeSpan, .span_products = SpanProducts::kTiles                       \
  }

OCTET_KERNELS(x86_amx_bf16_attend_span) = {
    OCTET_ATTEND_SPAN("f16", kF16, RowsF16),
    OCTET_ATTEND_SPAN("bf16", kBf16, RowsBf16),
    OCTET_ATTEND_SPAN("q8_0", kQ8_0, RowsQ8),
    {},
};

}  // namespace octet
