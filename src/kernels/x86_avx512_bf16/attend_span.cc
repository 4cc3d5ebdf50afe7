// Span attention by vdpbf16ps (SpanProducts::kPairs). One row of a model with grouped queries takes
// keys and values as they come from memory, from register to register, while the next chunk is
// asked for. Prompts share each converted chunk among many blocks of queries.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx512/exp2.h"
#include "kernels/x86_avx512/sum_lanes.h"
#include "kernels/x86_avx512_bf16/bf16_rows.h"
#include "kernels/x86_avx512_bf16/merge_span.h"

namespace octet {
namespace {

constexpr float kLowest = -3.402823466e+38f;
constexpr int32_t kGroupKeys = 16;    // whose scores are one vector
constexpr int32_t kStepKeys = 32;     // chunks are walked in multiples of this
constexpr int32_t kBlockQueries = 6;  // times four vectors: 24 accumulators
constexpr int32_t kTileQueries = 4 * kBlockQueries;
constexpr int32_t kStreamQueries = 4;  // up to so many are multiplied with keys in registers
constexpr int32_t kTileKeys = 64;      // taken by all blocks of a tile while they are near
constexpr int32_t kNearKeys = 16;      // how far ahead lines go to the first-level cache
constexpr int64_t kBf16Bytes = 2, kVectorBytes = 64, kLineBytes = 64;

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
  std::byte zeros[kSpanHeadDimMax * kBf16Bytes];
  // Of this chunk and the next: keys, values; in this order, so that what is near may lie beyond.
  const std::byte* rows[2][2][kSpanChunk];
  const std::byte* no_rows[kNearKeys];
};

int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t Most(int64_t a, int64_t b) { return a > b ? a : b; }

/// Keys of a chunk, relative to it: [first, last) are walked, multiples of kStepKeys; of these the
/// rows see some of [begin, end).
struct Range {
  int64_t base;
  int32_t begin, end, first, last;
};

/// Rows of the next chunk, asked for while those of this one are converted: memory is the slower
/// side of decoding, and rests whenever nothing is asked of it. The 16 rows from one that is a
/// multiple of 16 count as side by side, which they are in pages of such a size; in others a wrong
/// line is asked for.
template <class Rows>
class Ahead {
 public:
  explicit Ahead(const std::byte* const* rows) : rows_(rows) {}

  /// From here on: 64 dims' share of the 16 rows from `row` on, which eight calls of Ask ask for.
  void Start(int32_t row, int32_t d) {
    next_ = reinterpret_cast<const char*>(rows_[row]) + kGroupKeys * (d / 32 * Rows::kBytes);
    AskLines<kLines % 8>();
  }
  void Ask() { AskLines<kLines / 8>(); }

 private:
  static constexpr int kLines = kGroupKeys * 2 * Rows::kBytes / kLineBytes;

  template <int N>
  void AskLines() {
    for (int i = 0; i < N; ++i) _mm_prefetch(next_ + i * kLineBytes, _MM_HINT_T1);
    next_ += N * kLineBytes;
  }

  const std::byte* const* rows_;
  const char* next_ = nullptr;
};

/// Asks for the lines of 64 dims of a row, from d on: from the second-level cache, where Ahead let
/// them be put a chunk ago, to the first. Loads that miss it wait for the same buffers as lines
/// from memory.
template <class Rows>
inline __attribute__((always_inline)) void AskNear(const std::byte* row, int32_t d) {
  const char* line = reinterpret_cast<const char*>(row) + d / 32 * Rows::kBytes;
  _mm_prefetch(line, _MM_HINT_T0);
  if (Rows::kBytes == kLineBytes) _mm_prefetch(line + kLineBytes, _MM_HINT_T0);
}

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
                  int32_t head_dim, float* score, Ahead<Rows> ahead) {
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
          for (int l = 0; l < 4; ++l) AskNear<Rows>(rows[j + kNearKeys + 4 * l + e], d);
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
                  Ahead<Rows> ahead) {
  for (int32_t d = 0; d < head_dim; d += 64) {
    AddPairs<R>(weights + first * kBf16Bytes, (last - first) / 2, head_dim, factor, acc + d,
                [&](int32_t i, __m512i* value) {
                  if (i % 8 == 0) ahead.Start(first + 2 * i, d);
                  ahead.Ask();
                  const std::byte* const* pair = rows + first + 2 * i;
                  AskNear<Rows>(pair[kNearKeys], d);
                  AskNear<Rows>(pair[kNearKeys + 1], d);
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

/// A query's scores of keys [first, last) to weights; of these it sees [begin, end). Updates m and
/// l, returns the factor of what was summed before.
template <bool kMasked>
float Weigh(const Range& range, const float* score, std::byte* weights, float* m, float* l) {
  const auto seen = [&](int32_t j) {
    if (!kMasked) return static_cast<__mmask16>(0xffff);
    const __m512i index =
        _mm512_add_epi32(_mm512_set1_epi32(j),
                         _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    return static_cast<__mmask16>(_mm512_cmpge_epi32_mask(index, _mm512_set1_epi32(range.begin)) &
                                  _mm512_cmplt_epi32_mask(index, _mm512_set1_epi32(range.end)));
  };
  __m512 most[2] = {_mm512_set1_ps(*m), _mm512_set1_ps(*m)};
  for (int32_t j = range.first; j < range.last; j += kStepKeys) {
    for (int i = 0; i < 2; ++i) {
      const __m512 s = _mm512_load_ps(score + j + 16 * i);
      most[i] = _mm512_mask_max_ps(most[i], seen(j + 16 * i), s, most[i]);  // not s where it is NaN
    }
  }
  const float greatest = _mm512_reduce_max_ps(_mm512_max_ps(most[0], most[1]));
  const __m512 max = _mm512_set1_ps(greatest);
  __m512 sum = _mm512_setzero_ps();
  for (int32_t j = range.first; j < range.last; j += kStepKeys) {
    __m512 p[2];
    for (int i = 0; i < 2; ++i) {
      p[i] = Exp2(_mm512_sub_ps(_mm512_load_ps(score + j + 16 * i), max));
      if (kMasked) p[i] = _mm512_maskz_mov_ps(seen(j + 16 * i), p[i]);
      sum = _mm512_add_ps(sum, p[i]);
    }
    _mm512_store_si512(weights + j * kBf16Bytes, Bf16Pair(p[0], p[1]));
  }
  const float factor = _mm512_cvtss_f32(Exp2(_mm512_set1_ps(*m - greatest)));
  *m = greatest;
  *l = __builtin_fmaf(*l, factor, SumLanes(sum));
  return factor;
}

template <class Rows>
class Span {
 public:
  explicit Span(const AttendSpanArgs& args)
      : args_(args),
        work_(*reinterpret_cast<Work*>(args.scratch)),
        queries_(args.rows * args.group) {}

  void Run() {
    for (std::byte& zero : work_.zeros) zero = std::byte{0};
    Start();
    if (queries_ <= kStreamQueries) {
      RunStream();
    } else {
      RunTiles();
    }
    Finish();
  }

 private:
  int64_t FirstKey(int64_t position) const {
    return args_.window > 0 ? Most(0, position - args_.window + 1) : 0;
  }

  /// First and one past the last key of the span that any row sees.
  int64_t SpanFirst() const { return Most(args_.begin, FirstKey(args_.first_position)); }
  int64_t SpanEnd() const { return Least(args_.end, args_.first_position + args_.rows); }

  void Walk(Range* range) const {
    range->first = range->begin / kStepKeys * kStepKeys;
    range->last = (range->end + kStepKeys - 1) / kStepKeys * kStepKeys;
  }

  /// The chunk at `base`, cut at `end`.
  Range RangeOf(int64_t base, int64_t end) const {
    Range r;
    r.base = base;
    r.begin = static_cast<int32_t>(Most(SpanFirst() - base, 0));
    r.end = static_cast<int32_t>(Least(end - base, kSpanChunk));
    Walk(&r);
    return r;
  }

  /// Where the chunk's keys and values lie; zeros for all that are not seen, as some are walked and
  /// others asked for.
  void FindRows(const Range& range, const std::byte* (*rows)[kSpanChunk]) {
    for (int32_t j = 0; j < range.begin; ++j) rows[0][j] = rows[1][j] = work_.zeros;
    for (int32_t j = range.end; j < kSpanChunk; ++j) rows[0][j] = rows[1][j] = work_.zeros;
    int64_t page = (range.base + range.begin) / args_.page_tokens;
    int64_t token = (range.base + range.begin) % args_.page_tokens;
    for (int32_t j = range.begin; j < range.end; ++page, token = 0) {
      const int64_t offset = args_.head_offset + token * args_.row_bytes;
      const auto n = static_cast<int32_t>(Least(args_.page_tokens - token, range.end - j));
      FillRows(args_.k_pages[page] + offset, n, rows[0] + j);
      FillRows(args_.v_pages[page] + offset, n, rows[1] + j);
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

  /// Calls work(first, n) for blocks of at most kBlockQueries of n_all queries, as equal as can be.
  template <class Work>
  static void ForEachBlock(int32_t n_all, Work work) {
    const int32_t blocks = (n_all + kBlockQueries - 1) / kBlockQueries;
    for (int32_t i = 0; i < blocks; ++i) {
      const int32_t first = n_all * i / blocks;
      work(first, n_all * (i + 1) / blocks - first);
    }
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
      const int64_t position = args_.first_position + (query + q) / args_.group;
      Range own = range;
      own.begin = static_cast<int32_t>(
          Most(range.begin, Least(FirstKey(position) - range.base, kSpanChunk)));
      own.end = static_cast<int32_t>(Least(range.end, Most(position + 1 - range.base, 0)));
      const bool masked = own.begin > own.first || own.end < own.last;
      work_.factor[q] =
          (masked ? Weigh<true> : Weigh<false>)(own, work_.score[q], work_.weights[q],
                                                args_.m + query + q, args_.l + query + q);
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
    int current = 0;
    for (const std::byte*& row : work_.no_rows) row = work_.zeros;
    Range range = RangeOf(SpanFirst() / kSpanChunk * kSpanChunk, SpanEnd());
    FindRows(range, work_.rows[0]);
    while (range.base < SpanEnd()) {
      // After the span's last chunk come those of the next span, most likely on this thread too.
      const int64_t next_base = range.base + kSpanChunk, end = args_.first_position + args_.rows;
      const Range next = RangeOf(next_base, next_base < SpanEnd() ? SpanEnd() : end);
      const std::byte* const(*rows)[kSpanChunk] = work_.rows[current];
      const std::byte*(*later)[kSpanChunk] = work_.rows[1 - current];
      const bool ends = next.base >= end;
      if (ends) {
        for (int32_t j = 0; j < kSpanChunk; ++j) later[0][j] = later[1][j] = work_.zeros;
      } else {
        FindRows(next, later);
      }
      kStreamScores<Rows>[queries_ - 1](work_.queries, rows[0], range.first, range.last,
                                        args_.head_dim, work_.score[0], Ahead<Rows>(later[0]));
      WeighTile(0, queries_, range);
      kStreamValues<Rows>[queries_ - 1](work_.weights[0], rows[1], range.first, range.last,
                                        args_.head_dim, work_.factor, args_.acc,
                                        Ahead<Rows>(later[1]));
      range = next;
      current = 1 - current;
    }
  }

  // ---- Many queries: each chunk is converted once and taken by one tile of them after another.

  void RunTiles() {
    for (int64_t base = SpanFirst() / kSpanChunk * kSpanChunk; base < SpanEnd();
         base += kSpanChunk) {
      const Range range = RangeOf(base, SpanEnd());
      const std::byte* const* keys = work_.rows[0][0];
      const std::byte* const* values = work_.rows[0][1];
      FindRows(range, work_.rows[0]);
      for (int32_t j = range.first; j < range.last; j += kGroupKeys) {
        ConvertKeys<Rows>(keys + j, args_.head_dim, work_.keys + j * RowBytes());
        ConvertValues<Rows>(values + j, args_.head_dim, work_.values + j * RowBytes());
      }
      for (int32_t query = 0; query < queries_; query += kTileQueries)
        RunTile(query, static_cast<int32_t>(Least(kTileQueries, queries_ - query)), range);
    }
  }

  void RunTile(int32_t query, int32_t n, Range range) {
    // Only the keys that these queries see.
    const int64_t begin = FirstKey(args_.first_position + query / args_.group) - range.base;
    const int64_t end = args_.first_position + (query + n - 1) / args_.group + 1 - range.base;
    range.begin = static_cast<int32_t>(Most(range.begin, Least(begin, kSpanChunk)));
    range.end = static_cast<int32_t>(Least(range.end, Most(end, 0)));
    if (range.begin >= range.end) return;
    Walk(&range);
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
    OCTET_ATTEND_SPAN("q8_0", kQ8_0, RowsQ8),
    {},
};

}  // namespace octet
