// Span attention by vdpbf16ps (SpanProducts::kPairs). One row of a model with grouped queries takes
// keys and values as they come from memory, from register to register, while the next chunk is
// asked for. Prompts share each converted chunk among many blocks of queries.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx512/merge_span.h"
#include "kernels/x86_avx512/span.h"
#include "kernels/x86_avx512_bf16/bf16_rows.h"

namespace octet {
namespace {

constexpr int32_t kStepKeys = 32;  // chunks are walked in multiples of this
constexpr int32_t kTileKeys = 64;  // taken by all blocks of a tile while they are near
constexpr int64_t kBf16Bytes = 2, kVectorBytes = 64;

/// Memory of one call, in AttendSpanArgs::scratch.
struct alignas(64) Work {
  // [16 keys][8 dims][4] vectors: lane l (16 bytes) of vector e has key 4l + e.
  std::byte keys[kSpanChunk * kSpanHeadDimMax * kBf16Bytes];
  // [2 keys][16 dims] vectors of pairs; the dims of two vectors in NaturalDims' order.
  std::byte values[kSpanChunk * kSpanHeadDimMax * kBf16Bytes];
  std::byte queries[kSpanQueries * kSpanHeadDimMax * kBf16Bytes];  // rows
  float score[kTileQueries][kSpanChunk];
  std::byte weights[kTileQueries][kSpanChunk * kBf16Bytes];
  float factor[kTileQueries];  // of the sums so far
  SpanRows rows;
};

/// The 128-bit parts i of four vectors side by side in vector i.
void TransposeParts(__m512i* x) {
  const __m512i a = _mm512_shuffle_i32x4(x[0], x[1], 0x44);
  const __m512i b = _mm512_shuffle_i32x4(x[2], x[3], 0x44);
  const __m512i c = _mm512_shuffle_i32x4(x[0], x[1], 0xee);
  const __m512i d = _mm512_shuffle_i32x4(x[2], x[3], 0xee);
  x[0] = _mm512_shuffle_i32x4(a, b, 0x88);
  x[1] = _mm512_shuffle_i32x4(a, b, 0xdd);
  x[2] = _mm512_shuffle_i32x4(c, d, 0x88);
  x[3] = _mm512_shuffle_i32x4(c, d, 0xdd);
}

/// Eight dims of keys e, 4 + e, 8 + e and 12 + e in each of four vectors, from dim d on.
template <class Rows>
void LoadKeys(const std::byte* const* rows, int32_t e, int32_t d, __m512i* x) {
  for (int l = 0; l < 4; ++l) x[l] = Rows::Load(rows[4 * l + e], d);
  TransposeParts(x);
}

/// 16 keys to vectors.
template <class Rows>
void ConvertKeys(const std::byte* const* rows, int32_t head_dim, std::byte* out) {
  for (int32_t d = 0; d < head_dim; d += 32) {
    for (int32_t e = 0; e < 4; ++e) {
      __m512i x[4];
      LoadKeys<Rows>(rows, e, d, x);
      std::byte* vector = out + (d / 8 * 4 + e) * kVectorBytes;
      for (int i = 0; i < 4; ++i) _mm512_store_si512(vector + 4 * i * kVectorBytes, x[i]);
    }
  }
}

/// 32 dims of a pair of values, in NaturalDims' order.
template <class Rows>
void LoadValues(const std::byte* const* rows, int32_t d, __m512i* pairs) {
  const __m512i even = Rows::Load(rows[0], d), odd = Rows::Load(rows[1], d);
  pairs[0] = _mm512_unpacklo_epi16(even, odd);
  pairs[1] = _mm512_unpackhi_epi16(even, odd);
}

/// 16 values to vectors of pairs.
template <class Rows>
void ConvertValues(const std::byte* const* rows, int32_t head_dim, std::byte* out) {
  for (int32_t i = 0; i < kGroupKeys; i += 2) {
    for (int32_t d = 0; d < head_dim; d += 32, out += 2 * kVectorBytes) {
      __m512i pairs[2];
      LoadValues<Rows>(rows + i, d, pairs);
      _mm512_store_si512(out, pairs[0]);
      _mm512_store_si512(out + kVectorBytes, pairs[1]);
    }
  }
}

__m512 Product(__m512 sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

/// Adds the four chains of 16 keys, one key's in each 128-bit lane.
__m512 AddChains(const __m512* sum) {
  const auto halves = [](const __m512& a, const __m512& b) {
    return _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
  };
  const __m512d low = halves(sum[0], sum[1]), high = halves(sum[2], sum[3]);
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(low, high)),
                       _mm512_castpd_ps(_mm512_unpackhi_pd(low, high)));
}

__m512i EightDims(const std::byte* q) {
  return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(q)));
}

/// Scores of R queries and 16 keys.
template <int R>
void Scores(const std::byte* q, const std::byte* keys, int32_t head_dim, float* score) {
  const int64_t q_bytes = head_dim * kBf16Bytes;
  __m512 sum[R][4];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
    for (__m512& s : sum[r]) s = _mm512_setzero_ps();
  for (int32_t d = 0; d < head_dim; d += 8, q += 8 * kBf16Bytes, keys += 4 * kVectorBytes) {
    __m512i k[4];
    for (int e = 0; e < 4; ++e) k[e] = _mm512_load_si512(keys + e * kVectorBytes);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const __m512i eight = EightDims(q + r * q_bytes);
      for (int e = 0; e < 4; ++e) sum[r][e] = Product(sum[r][e], k[e], eight);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) _mm512_store_ps(score + r * kSpanChunk, AddChains(sum[r]));
}

/// The same for keys [first, last) as they lie: nothing goes through memory.
template <class Rows, int R>
void StreamScores(const std::byte* q, const std::byte* const* rows, int32_t first, int32_t last,
                  int32_t head_dim, float* score, Ahead<Rows::kBytes> ahead) {
  const int64_t q_bytes = head_dim * kBf16Bytes;
  for (int32_t j = first; j < last; j += kGroupKeys) {
    __m512 sum[R][4];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
      for (__m512& s : sum[r]) s = _mm512_setzero_ps();
    for (int32_t d = 0; d < head_dim; d += 32) {
      if (d % 64 == 0) ahead.Start(j, d);
#pragma GCC unroll 4
      for (int e = 0; e < 4; ++e) {
        ahead.Ask();
        if (d % 64 == 0) {
          for (int l = 0; l < 4; ++l) AskNear<Rows::kBytes>(rows[j + kNearKeys + 4 * l + e], d);
        }
        __m512i x[4];
        LoadKeys<Rows>(rows + j, e, d, x);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 4
          for (int r = 0; r < R; ++r)
            sum[r][e] =
                Product(sum[r][e], x[i], EightDims(q + r * q_bytes + (d + 8 * i) * kBf16Bytes));
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) _mm512_store_ps(score + r * kSpanChunk + j, AddChains(sum[r]));
  }
}

__m512i PairOfWeights(const std::byte* weights) {
  int32_t two;
  __builtin_memcpy(&two, weights, sizeof two);
  return _mm512_set1_epi32(two);
}

/// acc · factor + weights · values, for R queries, 64 dims and pairs of keys; load(i, v) gives the
/// four vectors of pair i.
template <int R, class Load>
void AddPairs(const std::byte* weights, int32_t pairs, int32_t head_dim, const float* factor,
              float* acc, Load load) {
  __m512 sum[R][4];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    const __m512 f = _mm512_set1_ps(factor[r]);
    for (int v = 0; v < 4; ++v)
      sum[r][v] = _mm512_mul_ps(_mm512_loadu_ps(acc + r * head_dim + 16 * v), f);
  }
  for (int32_t i = 0; i < pairs; ++i) {
    __m512i value[4];
    load(i, value);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const __m512i p = PairOfWeights(weights + 4 * i + r * kSpanChunk * kBf16Bytes);
      for (int v = 0; v < 4; ++v) sum[r][v] = Product(sum[r][v], value[v], p);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < 4; ++v) _mm512_storeu_ps(acc + r * head_dim + 16 * v, sum[r][v]);
}

template <int R>
void Values(const std::byte* weights, const std::byte* values, int32_t pairs, int32_t head_dim,
            const float* factor, float* acc) {
  const int64_t step = head_dim / 16 * kVectorBytes;
  AddPairs<R>(weights, pairs, head_dim, factor, acc, [&](int32_t i, __m512i* value) {
    for (int v = 0; v < 4; ++v) value[v] = _mm512_load_si512(values + i * step + v * kVectorBytes);
  });
}

/// The same for values [first, last) as they lie.
template <class Rows, int R>
void StreamValues(const std::byte* weights, const std::byte* const* rows, int32_t first,
                  int32_t last, int32_t head_dim, const float* factor, float* acc,
                  Ahead<Rows::kBytes> ahead) {
  for (int32_t d = 0; d < head_dim; d += 64) {
    AddPairs<R>(weights + first * kBf16Bytes, (last - first) / 2, head_dim, factor, acc + d,
                [&](int32_t i, __m512i* value) {
                  if (i % 8 == 0) ahead.Start(first + 2 * i, d);
                  ahead.Ask();
                  const std::byte* const* pair = rows + first + 2 * i;
                  AskNear<Rows::kBytes>(pair[kNearKeys], d);
                  AskNear<Rows::kBytes>(pair[kNearKeys + 1], d);
                  LoadValues<Rows>(pair, d, value);
                  LoadValues<Rows>(pair, d + 32, value + 2);
                });
  }
}

constexpr decltype(&Scores<1>) kScores[] = {Scores<1>, Scores<2>, Scores<3>,
                                            Scores<4>, Scores<5>, Scores<6>};
constexpr decltype(&Values<1>) kValues[] = {Values<1>, Values<2>, Values<3>,
                                            Values<4>, Values<5>, Values<6>};
template <class Rows>
constexpr decltype(&StreamScores<Rows, 1>) kStreamScores[] = {
    StreamScores<Rows, 1>, StreamScores<Rows, 2>, StreamScores<Rows, 3>, StreamScores<Rows, 4>};
template <class Rows>
constexpr decltype(&StreamValues<Rows, 1>) kStreamValues[] = {
    StreamValues<Rows, 1>, StreamValues<Rows, 2>, StreamValues<Rows, 3>, StreamValues<Rows, 4>};

template <class Rows>
class Span {
 public:
  explicit Span(const AttendSpanArgs& args)
      : args_(args),
        work_(*reinterpret_cast<Work*>(args.scratch)),
        walk_(args, &work_.rows),
        queries_(args.rows * args.group) {}

  void Run() {
    Start();
    if (queries_ <= kStreamQueries) {
      RunStream();
    } else {
      RunTiles();
    }
    Finish();
  }

 private:
  /// Queries as rows of bf16, and no key seen.
  void Start() {
    const __m512 scale = _mm512_set1_ps(args_.scale * 1.44269504f);
    std::byte* out = work_.queries;
    for (int32_t query = 0; query < queries_; ++query) {
      const float* q =
          args_.q + query / args_.group * args_.q_stride + query % args_.group * args_.head_dim;
      float* acc = args_.acc + static_cast<int64_t>(query) * args_.head_dim;
      for (int32_t d = 0; d < args_.head_dim; d += 32, out += kVectorBytes) {
        const __m512 low = _mm512_mul_ps(_mm512_loadu_ps(q + d), scale);
        const __m512 high = _mm512_mul_ps(_mm512_loadu_ps(q + d + 16), scale);
        _mm512_store_si512(out, Bf16Pair(low, high));
        _mm512_storeu_ps(acc + d, _mm512_setzero_ps());
        _mm512_storeu_ps(acc + d + 16, _mm512_setzero_ps());
      }
      args_.m[query] = kLowest;
      args_.l[query] = 0;
    }
  }

  void Finish() {
    float* acc = args_.acc;
    for (int64_t i = 0; i < static_cast<int64_t>(queries_) * args_.head_dim; i += 32)
      NaturalDims(_mm512_loadu_ps(acc + i), _mm512_loadu_ps(acc + i + 16), acc + i);
  }

  int64_t RowBytes() const { return args_.head_dim * kBf16Bytes; }  // converted

  /// Scores of the tile of n queries from `query` on, with keys [first, last) of the chunk.
  void ScoreKeys(int32_t query, int32_t n, int32_t first, int32_t last, const std::byte* keys) {
    ForEachBlock(n, [&](int32_t q, int32_t rows) {
      const std::byte* block = work_.queries + (query + q) * RowBytes();
      for (int32_t j = first; j < last; j += kGroupKeys) {
        kScores[rows - 1](block, keys + (j - first) * RowBytes(), args_.head_dim,
                          work_.score[q] + j);
      }
    });
  }

  void WeighTile(int32_t query, int32_t n, const Range& range) {
    for (int32_t q = 0; q < n; ++q) {
      const Range own = walk_.Seen(query + q, 1, range);
      const bool masked = own.begin > own.first || own.end < own.last;
      const auto store = [&](int32_t j, const __m512* p) {
        _mm512_store_si512(work_.weights[q] + j * kBf16Bytes, Bf16Pair(p[0], p[1]));
      };
      const float* score = work_.score[q];
      float *m = args_.m + query + q, *l = args_.l + query + q;
      work_.factor[q] =
          masked ? Weigh<true>(own, score, m, l, store) : Weigh<false>(own, score, m, l, store);
    }
  }

  /// Adds keys [first, last) of the chunk to the sums of the tile.
  void AddValues(int32_t query, int32_t n, int32_t first, int32_t last, const std::byte* values) {
    for (int32_t d = 0; d < args_.head_dim; d += 64) {
      ForEachBlock(n, [&](int32_t q, int32_t rows) {
        kValues[rows - 1](work_.weights[q] + first * kBf16Bytes, values + d / 16 * kVectorBytes,
                          (last - first) / 2, args_.head_dim, work_.factor + q,
                          args_.acc + static_cast<int64_t>(query + q) * args_.head_dim + d);
      });
    }
    for (int32_t q = 0; q < n; ++q) work_.factor[q] = 1;  // applied
  }

  // ---- A few queries: keys and values are used as they are read.

  void RunStream() {
    using Later = Ahead<Rows::kBytes>;
    walk_.StreamChunks([&](const Range& range, const std::byte* const(*rows)[kSpanChunk],
                           const std::byte* const(*later)[kSpanChunk]) {
      kStreamScores<Rows>[queries_ - 1](work_.queries, rows[0], range.first, range.last,
                                        args_.head_dim, work_.score[0], Later(later[0]));
      WeighTile(0, queries_, range);
      kStreamValues<Rows>[queries_ - 1](work_.weights[0], rows[1], range.first, range.last,
                                        args_.head_dim, work_.factor, args_.acc, Later(later[1]));
    });
  }

  // ---- Many queries: each chunk is converted once and taken by one tile of them after another.

  void RunTiles() {
    walk_.ForEachChunk([&](const Range& range, const std::byte* const(*rows)[kSpanChunk]) {
      for (int32_t j = range.first; j < range.last; j += kGroupKeys) {
        ConvertKeys<Rows>(rows[0] + j, args_.head_dim, work_.keys + j * RowBytes());
        ConvertValues<Rows>(rows[1] + j, args_.head_dim, work_.values + j * RowBytes());
      }
      for (int32_t query = 0; query < queries_; query += kTileQueries)
        RunTile(query, static_cast<int32_t>(Least(kTileQueries, queries_ - query)), range);
    });
  }

  void RunTile(int32_t query, int32_t n, Range range) {
    range = walk_.Seen(query, n, range);
    if (range.begin >= range.end) return;
    walk_.Walk(&range);
    for (int32_t j = range.first; j < range.last; j += kTileKeys) {
      const auto last = static_cast<int32_t>(Least(j + kTileKeys, range.last));
      ScoreKeys(query, n, j, last, work_.keys + j * RowBytes());
    }
    WeighTile(query, n, range);
    for (int32_t j = range.first; j < range.last; j += kTileKeys) {
      const auto last = static_cast<int32_t>(Least(j + kTileKeys, range.last));
      AddValues(query, n, j, last, work_.values + j * RowBytes());
    }
  }

  const AttendSpanArgs& args_;
  Work& work_;
  SpanWalk<kStepKeys> walk_;
  const int32_t queries_;
};

template <class Rows>
void AttendSpan(const AttendSpanArgs& args) {
  Span<Rows>(args).Run();
}

}  // namespace

#define OCTET_ATTEND_SPAN(format_name, id, rows)                                     \
  {                                                                                  \
    .name = "x86_avx512_bf16/attend_span." format_name, .op = KernelOp::kAttendSpan, \
    .isa = kIsaAvx512 | kIsaAvx512Bf16, .speed = 30, .format = Format::id,           \
    .scratch_floats = sizeof(Work) / sizeof(float), .attend_span = AttendSpan<rows>, \
    .merge_span = MergeSpan, .span_products = SpanProducts::kPairs                   \
  }

OCTET_KERNELS(x86_avx512_bf16_attend_span) = {
    OCTET_ATTEND_SPAN("f16", kF16, RowsF16),
    OCTET_ATTEND_SPAN("bf16", kBf16, RowsBf16),
    {},
};

}  // namespace octet
