// Span attention over q8_0 in 16-bit integers (SpanProducts::kIntegers): codes are widened by one
// or two operations where becoming bf16 takes eleven, and scales enter once a block of 32.
#include <immintrin.h>

#include <cstddef>

#include "kernels/kernel.h"
#include "kernels/x86_avx512/merge_span.h"
#include "kernels/x86_avx512/span.h"
#include "quant/q8_0.h"

namespace octet {
namespace {

constexpr int32_t kBlockDims = BlockQ8_0::kValues;
constexpr int32_t kBlockBytes = sizeof(BlockQ8_0);
constexpr int32_t kCodes = offsetof(BlockQ8_0, qs);
constexpr int32_t kBlocksMax = kSpanHeadDimMax / kBlockDims;
constexpr int32_t kPartKeys = 64, kPartGroups = kPartKeys / kGroupKeys;
constexpr int64_t kVectorBytes = 64;
// Rows of weights a power of two apart would share the cache's sets.
constexpr int32_t kWeightsRow = kSpanIntegerKeys + 32;

/// Memory of one call, in AttendSpanArgs::scratch.
struct alignas(64) Work {
  // [64 keys' parts][dims / 4][64 keys]: four codes each.
  std::byte keys[kSpanChunk * kSpanHeadDimMax];
  // [64 dims][2 keys][2 blocks] vectors: pairs of codes of one key and the other in turn.
  std::byte values[kSpanChunk * kSpanHeadDimMax];
  float key_scale[kBlocksMax][kSpanChunk], value_scale[kBlocksMax][kSpanChunk];
  int16_t queries[kSpanQueries * kSpanHeadDimMax];
  float query_step[kSpanQueries];
  float score[kTileQueries][kSpanChunk];  // then weights
  int16_t weights[kTileQueries][kBlocksMax][kWeightsRow];
  float weight_step[kTileQueries][kBlocksMax];
  float factor[kTileQueries];  // of the sums so far
  SpanRows rows;
};

/// Rows of the next chunk, asked for one line after another while those of this one are used: in
/// another order memory gave less. 16 rows count as side by side, as with Ahead.
class LinesAhead {
 public:
  LinesAhead(const std::byte* const* rows, int32_t head_dim)
      : rows_(rows), run_(kGroupKeys * (head_dim / kBlockDims) * kBlockBytes / kLineBytes) {
    Begin();
  }
  inline __attribute__((always_inline)) void Ask(int32_t lines) {
    for (int32_t i = 0; i < lines; ++i) {
      _mm_prefetch(next_, _MM_HINT_T1);
      next_ += kLineBytes;
      if (--left_ == 0) {
        rows_ += kGroupKeys;
        Begin();
      }
    }
  }

 private:
  void Begin() {
    next_ = reinterpret_cast<const char*>(*rows_);
    left_ = run_;
  }

  const std::byte* const* rows_;
  const char* next_;
  int64_t run_, left_;
};
// Of 17 lines that 32 rows' block of 32 dims is, so many are asked for while keys are turned and
// values' scales gathered, by time; the others while multiplying.
constexpr int32_t kAskTurning = 7, kAskGathering = 4;

/// Codes of 16 keys: vector i has dims 4i … 4i + 3 of each, of the block at `offset` of a row.
inline __attribute__((always_inline)) void LoadKeys(const std::byte* const* rows, int64_t offset,
                                                    __m512i* x) {
  __m512i y[8];
  const auto codes = [&](int key) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[key] + offset));
  };
  for (int j = 0; j < 8; ++j) {
    const int key = j / 4 * 8 + j % 4;
    y[j] = _mm512_inserti64x4(_mm512_castsi256_si512(codes(key)), codes(key + 4), 1);
  }
  for (int j = 0; j < 8; j += 4) {  // four words of four keys a lane
    const __m512i a = _mm512_unpacklo_epi32(y[j], y[j + 1]);
    const __m512i b = _mm512_unpackhi_epi32(y[j], y[j + 1]);
    const __m512i c = _mm512_unpacklo_epi32(y[j + 2], y[j + 3]);
    const __m512i d = _mm512_unpackhi_epi32(y[j + 2], y[j + 3]);
    y[j] = _mm512_unpacklo_epi64(a, c);
    y[j + 1] = _mm512_unpackhi_epi64(a, c);
    y[j + 2] = _mm512_unpacklo_epi64(b, d);
    y[j + 3] = _mm512_unpackhi_epi64(b, d);
  }
  for (int j = 0; j < 4; ++j) {
    x[j] = _mm512_shuffle_i32x4(y[j], y[j + 4], 0x88);
    x[j + 4] = _mm512_shuffle_i32x4(y[j], y[j + 4], 0xdd);
  }
}

/// Scales of 16 rows, two bytes each. Through memory they would wait for the stores.
__m512 LoadScales(const std::byte* const* rows, int64_t offset) {
  const auto pair = [&](int j) {
    return _mm_unpacklo_epi16(_mm_loadu_si32(rows[j] + offset),
                              _mm_loadu_si32(rows[j + 1] + offset));
  };
  const auto eight = [&](int j) {
    return _mm_unpacklo_epi64(_mm_unpacklo_epi32(pair(j), pair(j + 2)),
                              _mm_unpacklo_epi32(pair(j + 4), pair(j + 6)));
  };
  return _mm512_cvtph_ps(_mm256_set_m128i(eight(8), eight(0)));
}

/// Of all blocks of 16 rows to rows of kSpanChunk.
void ConvertScales(const std::byte* const* rows, int32_t blocks, float* scale) {
  for (int32_t b = 0; b < blocks; ++b)
    _mm512_store_ps(scale + b * kSpanChunk, LoadScales(rows, b * kBlockBytes));
}

/// Asks for 16 rows, from the second-level cache to the first.
void AskNearRows(const std::byte* const* rows, int32_t blocks) {
  for (int32_t j = 0; j < kGroupKeys; ++j) {
    const std::byte* row = rows[j];
    for (int32_t b = 0; b < blocks; b += 2, row += 2 * kBlockBytes)
      _mm_prefetch(reinterpret_cast<const char*>(row), _MM_HINT_T0);
  }
}

/// Sums in the type that multiplying takes: g++ 12 copies __m512i back and forth in loops.
using Int32s = int32_t __attribute__((vector_size(64)));

Int32s AddProducts(Int32s sum, __m512i a, __m512i b) {
  return (Int32s)_mm512_dpwssd_epi32((__m512i)sum, a, b);
}

__m512 ToFloats(Int32s sum) { return _mm512_cvtepi32_ps((__m512i)sum); }

__m512i PairOf(const int16_t* pair) {
  int32_t two;
  __builtin_memcpy(&two, pair, sizeof two);
  return _mm512_set1_epi32(two);
}

/// Scores of R queries and 64 keys; their scales lie in rows of kSpanChunk.
template <int R, class Ask>
void Scores(const int16_t* q, const float* q_step, const std::byte* keys, const float* scale,
            int32_t head_dim, float* score, Ask ask) {
  const __m512i odd = _mm512_set1_epi16(static_cast<int16_t>(0xff00));
  for (int32_t d = 0; d < head_dim; d += kBlockDims, scale += kSpanChunk) {
    Int32s sum[R][kPartGroups];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
      for (Int32s& s : sum[r]) s = Int32s{};
    for (int32_t i = 0; i < kBlockDims; i += 4, q += 4, keys += kPartGroups * kVectorBytes) {
      ask(d + i);
      __m512i x[kPartGroups];
      // Times 256, which spares the other bytes' sign.
#pragma GCC unroll 4
      for (int g = 0; g < kPartGroups; ++g)
        x[g] = _mm512_slli_epi16(_mm512_load_si512(keys + g * kVectorBytes), 8);
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const __m512i two = PairOf(q + r * head_dim);
#pragma GCC unroll 4
        for (int g = 0; g < kPartGroups; ++g) sum[r][g] = AddProducts(sum[r][g], x[g], two);
      }
#pragma GCC unroll 4
      for (int g = 0; g < kPartGroups; ++g)
        x[g] = _mm512_and_si512(_mm512_load_si512(keys + g * kVectorBytes), odd);
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const __m512i two = PairOf(q + r * head_dim + 2);
#pragma GCC unroll 4
        for (int g = 0; g < kPartGroups; ++g) sum[r][g] = AddProducts(sum[r][g], x[g], two);
      }
    }
    const bool begins = d == 0, ends = d + kBlockDims == head_dim;
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const __m512 step = _mm512_set1_ps(ends ? q_step[r] : 1.0f);
#pragma GCC unroll 4
      for (int g = 0; g < kPartGroups; ++g) {
        float* out = score + r * kSpanChunk + g * kGroupKeys;
        const __m512 before = begins ? _mm512_setzero_ps() : _mm512_load_ps(out);
        const __m512 s =
            _mm512_fmadd_ps(ToFloats(sum[r][g]), _mm512_load_ps(scale + g * kGroupKeys), before);
        _mm512_store_ps(out, _mm512_mul_ps(s, step));
      }
    }
  }
}

/// acc · factor + weights · values for R queries and 64 dims; load(i, x) gives the two blocks of
/// pair i.
template <int R, class Load>
void AddPairs(const int16_t* weights, int32_t pairs, int32_t head_dim, const float* factor,
              const float* step, float* acc, Load load) {
  Int32s sum[R][4];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
    for (Int32s& s : sum[r]) s = Int32s{};
  for (int32_t i = 0; i < pairs; ++i) {
    __m512i x[2], v[4];
    load(i, x);
#pragma GCC unroll 4
    for (int b = 0; b < 2; ++b) {
      v[2 * b] = _mm512_srai_epi16(_mm512_slli_epi16(x[b], 8), 8);
      v[2 * b + 1] = _mm512_srai_epi16(x[b], 8);
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int b = 0; b < 2; ++b) {
        const __m512i w = PairOf(weights + r * kBlocksMax * kWeightsRow + b * kWeightsRow + 2 * i);
        sum[r][2 * b] = AddProducts(sum[r][2 * b], v[2 * b], w);
        sum[r][2 * b + 1] = AddProducts(sum[r][2 * b + 1], v[2 * b + 1], w);
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    const __m512 f = _mm512_set1_ps(factor[r]);
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      float* out = acc + r * head_dim + 16 * v;
      const __m512 s = _mm512_set1_ps(step[r * kBlocksMax + v / 2]);
      _mm512_storeu_ps(
          out, _mm512_fmadd_ps(ToFloats(sum[r][v]), s, _mm512_mul_ps(_mm512_loadu_ps(out), f)));
    }
  }
}

/// A pair of values' codes: words of one key and the other in turn.
__m512i LoadValues(const std::byte* const* rows, int64_t offset) {
  const auto codes = [&](int key) {
    return _mm512_castsi256_si512(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[key] + offset)));
  };
  alignas(64) static constexpr uint16_t kTurn[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                                     37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                                     11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  return _mm512_permutex2var_epi16(codes(0), _mm512_load_si512(kTurn), codes(1));
}

template <int R>
void TileScores(const int16_t* q, const float* q_step, const std::byte* keys, const float* scale,
                int32_t head_dim, float* score) {
  Scores<R>(q, q_step, keys, scale, head_dim, score, [](int32_t) {});
}

template <int R>
void TileValues(const int16_t* weights, const std::byte* values, int32_t pairs, int32_t head_dim,
                const float* factor, const float* step, float* acc) {
  AddPairs<R>(weights, pairs, head_dim, factor, step, acc, [&](int32_t i, __m512i* x) {
#pragma GCC unroll 4
    for (int b = 0; b < 2; ++b) x[b] = _mm512_load_si512(values + (2 * i + b) * kVectorBytes);
  });
}

template <int R>
void StreamScores(const int16_t* q, const float* q_step, const std::byte* keys, const float* scale,
                  int32_t head_dim, float* score, LinesAhead* later) {
  LinesAhead ahead = *later;
  Scores<R>(q, q_step, keys, scale, head_dim, score,
            [&](int32_t d) { ahead.Ask(d % 8 == 0 ? 3 : 2); });
  *later = ahead;
}

template <int R>
void StreamValues(const int16_t* weights, const std::byte* const* rows, int32_t first, int32_t last,
                  int32_t head_dim, const float* factor, const float* step, float* acc,
                  LinesAhead* later) {
  LinesAhead ahead = *later;
  for (int32_t d = 0; d < head_dim; d += 64) {
    const int32_t b = d / kBlockDims;
    AddPairs<R>(weights + b * kWeightsRow, (last - first) / 2, head_dim, factor, step + b, acc + d,
                [&](int32_t i, __m512i* x) {
                  ahead.Ask(i % 8 < 5 ? 2 : 1);
                  const std::byte* const* pair = rows + first + 2 * i;
                  x[0] = LoadValues(pair, b * kBlockBytes + kCodes);
                  x[1] = LoadValues(pair, (b + 1) * kBlockBytes + kCodes);
                });
  }
  *later = ahead;
}

constexpr decltype(&TileScores<1>) kTileScores[] = {TileScores<1>, TileScores<2>, TileScores<3>,
                                                    TileScores<4>, TileScores<5>, TileScores<6>};
constexpr decltype(&TileValues<1>) kTileValues[] = {TileValues<1>, TileValues<2>, TileValues<3>,
                                                    TileValues<4>, TileValues<5>, TileValues<6>};
constexpr decltype(&StreamScores<1>) kStreamScores[] = {StreamScores<1>, StreamScores<2>,
                                                        StreamScores<3>, StreamScores<4>};
constexpr decltype(&StreamValues<1>) kStreamValues[] = {StreamValues<1>, StreamValues<2>,
                                                        StreamValues<3>, StreamValues<4>};

constexpr float kSteps = 32767;

/// Weights p of kSpanIntegerKeys keys times their values' scales, in 16 bits of the greatest;
/// returns the step.
float RoundWeights(const float* p, const float* scale, int16_t* weights) {
  constexpr int kVectors = kSpanIntegerKeys / 16;
  const __m512 magic = _mm512_set1_ps(12582912.0f);  // its sum with an integer ends with that
  alignas(64) static constexpr uint16_t kLowWords[32] = {0,  2,  4,  6,  8,  10, 12, 14, 16, 18, 20,
                                                         22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42,
                                                         44, 46, 48, 50, 52, 54, 56, 58, 60, 62};
  __m512 w[kVectors], most = _mm512_set1_ps(kSpanLeast);
  for (int i = 0; i < kVectors; ++i) {
    w[i] = _mm512_mul_ps(_mm512_load_ps(p + 16 * i), _mm512_load_ps(scale + 16 * i));
    most = _mm512_max_ps(most, w[i]);
  }
  const float greatest = _mm512_reduce_max_ps(most);
  const __m512 inverse = _mm512_set1_ps(kSteps / greatest);
  for (int i = 0; i < kVectors; i += 2) {
    const __m512i low = _mm512_castps_si512(_mm512_fmadd_ps(w[i], inverse, magic));
    const __m512i high = _mm512_castps_si512(_mm512_fmadd_ps(w[i + 1], inverse, magic));
    _mm512_store_si512(weights + 16 * i,
                       _mm512_permutex2var_epi16(low, _mm512_load_si512(kLowWords), high));
  }
  return greatest / kSteps;
}

class Span {
 public:
  explicit Span(const AttendSpanArgs& args)
      : args_(args),
        work_(*reinterpret_cast<Work*>(args.scratch)),
        walk_(args, &work_.rows),
        queries_(args.rows * args.group),
        blocks_(args.head_dim / kBlockDims) {}

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
  /// Queries as 16-bit integers, and no key seen.
  void Start() {
    for (int32_t query = 0; query < queries_; ++query) {
      const float* q =
          args_.q + query / args_.group * args_.q_stride + query % args_.group * args_.head_dim;
      RoundQuery(q, query);
      float* acc = args_.acc + static_cast<int64_t>(query) * args_.head_dim;
      for (int32_t d = 0; d < args_.head_dim; d += 16)
        _mm512_storeu_ps(acc + d, _mm512_setzero_ps());
      args_.m[query] = kLowest;
      args_.l[query] = 0;
    }
  }

  void RoundQuery(const float* q, int32_t query) {
    const __m512 scale = _mm512_set1_ps(args_.scale * 1.44269504f);
    const auto load = [&](int32_t d) { return _mm512_mul_ps(_mm512_loadu_ps(q + d), scale); };
    float most = kSpanLeast;
    for (int32_t d = 0; d < args_.head_dim; d += kBlockDims) {
      const float sum =
          SumLanes(_mm512_add_ps(_mm512_abs_ps(load(d)), _mm512_abs_ps(load(d + 16))));
      most = sum > most ? sum : most;
    }
    const __m512 inverse = _mm512_set1_ps(kSteps / most);
    int16_t* out = work_.queries + query * args_.head_dim;
    // Of four dims the first and third, then the others: as codes' bytes are taken.
    const __m256i order = _mm256_set1_epi64x(0x0706'0302'0504'0100);
    for (int32_t d = 0; d < args_.head_dim; d += 16) {
      const __m256i x = _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(_mm512_mul_ps(load(d), inverse)));
      const __m256i low8 = _mm256_set_epi64x(0x0808080808080808, 0, 0x0808080808080808, 0);
      _mm256_store_si256(reinterpret_cast<__m256i*>(out + d),
                         _mm256_shuffle_epi8(x, _mm256_add_epi8(order, low8)));
    }
    work_.query_step[query] = most / kSteps / 256;
  }

  /// Blocks of 32 dims: even ones, then odd ones, to their own order.
  void Finish() {
    float* acc = args_.acc;
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    for (int64_t i = 0; i < static_cast<int64_t>(queries_) * args_.head_dim; i += 32) {
      const __m512 even = _mm512_loadu_ps(acc + i), odd = _mm512_loadu_ps(acc + i + 16);
      _mm512_storeu_ps(acc + i, _mm512_permutex2var_ps(even, low, odd));
      _mm512_storeu_ps(acc + i + 16, _mm512_permutex2var_ps(even, high, odd));
    }
  }

  /// 16 keys from j on to vectors of the part that has them.
  void ConvertKeys(const std::byte* const* rows, int32_t j, std::byte* part) {
    ConvertScales(rows + j, blocks_, work_.key_scale[0] + j);
    for (int32_t b = 0; b < blocks_; ++b) {
      __m512i x[8];
      LoadKeys(rows + j, b * kBlockBytes + kCodes, x);
      std::byte* out = part + (b * 8 * kPartGroups + j / kGroupKeys % kPartGroups) * kVectorBytes;
      for (int i = 0; i < 8; ++i) _mm512_store_si512(out + i * kPartGroups * kVectorBytes, x[i]);
    }
  }

  /// Of keys [first, last).
  void ConvertValueScales(const std::byte* const* rows, int32_t first, int32_t last) {
    for (int32_t j = first; j < last; j += kGroupKeys)
      ConvertScales(rows + j, blocks_, work_.value_scale[0] + j);
  }

  /// Scores of the tile's queries to weights in float, zeros where a part of the walk has none.
  void WeighTile(int32_t query, int32_t n, const Range& range) {
    for (int32_t q = 0; q < n; ++q) {
      const Range own = walk_.Seen(query + q, 1, range);
      const bool masked = own.begin > own.first || own.end < own.last;
      float* score = work_.score[q];
      const auto store = [&](int32_t j, const __m512* p) {
        _mm512_store_ps(score + j, p[0]);
        _mm512_store_ps(score + j + 16, p[1]);
      };
      float *m = args_.m + query + q, *l = args_.l + query + q;
      work_.factor[q] =
          masked ? Weigh<true>(own, score, m, l, store) : Weigh<false>(own, score, m, l, store);
      const int32_t end = (range.last + kSpanIntegerKeys - 1) / kSpanIntegerKeys * kSpanIntegerKeys;
      for (int32_t j = range.first / kSpanIntegerKeys * kSpanIntegerKeys; j < range.first; j += 16)
        _mm512_store_ps(score + j, _mm512_setzero_ps());
      for (int32_t j = range.last; j < end; j += 16)
        _mm512_store_ps(score + j, _mm512_setzero_ps());
    }
  }

  /// Calls use(part, first, last) for the parts of kSpanIntegerKeys keys and what is walked of
  /// each.
  template <class Use>
  static void ForEachPart(const Range& range, Use use) {
    for (int32_t part = range.first / kSpanIntegerKeys * kSpanIntegerKeys; part < range.last;
         part += kSpanIntegerKeys) {
      use(part, static_cast<int32_t>(Most(part, range.first)),
          static_cast<int32_t>(Least(part + kSpanIntegerKeys, range.last)));
    }
  }

  void RoundTile(int32_t n, int32_t part) {
    for (int32_t q = 0; q < n; ++q) {
      for (int32_t b = 0; b < blocks_; ++b) {
        work_.weight_step[q][b] =
            RoundWeights(work_.score[q] + part, work_.value_scale[b] + part, work_.weights[q][b]);
      }
    }
  }

  void RunStream() {
    ClearValueScales();
    walk_.StreamChunks([&](const Range& range, const std::byte* const(*rows)[kSpanChunk],
                           const std::byte* const(*later)[kSpanChunk]) {
      LinesAhead keys_ahead(later[0], args_.head_dim), values_ahead(later[1], args_.head_dim);
      for (int32_t j = range.first; j < range.last; j += kPartKeys) {
        for (int32_t i = j; i < j + kPartKeys; i += kGroupKeys) {
          AskNearRows(rows[0] + i + kNearKeys, blocks_);
          keys_ahead.Ask(blocks_ * kAskTurning / 2);
          ConvertKeys(rows[0], i, work_.keys);
        }
        kStreamScores[queries_ - 1](work_.queries, work_.query_step, work_.keys,
                                    work_.key_scale[0] + j, args_.head_dim, work_.score[0] + j,
                                    &keys_ahead);
      }
      WeighTile(0, queries_, range);
      ForEachPart(range, [&](int32_t part, int32_t first, int32_t last) {
        for (int32_t j = first; j < last; j += kGroupKeys) {
          AskNearRows(rows[1] + j + kNearKeys, blocks_);
          values_ahead.Ask(blocks_ * kAskGathering / 2);
          ConvertValueScales(rows[1], j, j + kGroupKeys);
        }
        RoundTile(queries_, part);
        kStreamValues[queries_ - 1](work_.weights[0][0] + (first - part), rows[1], first, last,
                                    args_.head_dim, work_.factor, work_.weight_step[0], args_.acc,
                                    &values_ahead);
        for (int32_t q = 0; q < queries_; ++q) work_.factor[q] = 1;  // applied
      });
    });
  }

  /// What is not walked is multiplied with weights of zero, and was never written.
  void ClearValueScales() {
    for (int32_t b = 0; b < blocks_; ++b)
      for (int32_t j = 0; j < kSpanChunk; j += 16)
        _mm512_store_ps(work_.value_scale[b] + j, _mm512_setzero_ps());
  }

  void RunTiles() {
    ClearValueScales();
    walk_.ForEachChunk([&](const Range& range, const std::byte* const(*rows)[kSpanChunk]) {
      for (int32_t j = range.first; j < range.last; j += kGroupKeys) {
        AskNearRows(rows[0] + j + kNearKeys, blocks_);
        ConvertKeys(rows[0], j, work_.keys + j / kPartKeys * kPartKeys * args_.head_dim);
      }
      ConvertValueScales(rows[1], range.first, range.last);
      for (int32_t b = 0; b < blocks_; ++b) {
        for (int32_t j = range.first; j < range.last; j += 2)
          _mm512_store_si512(ValuesAt(b, j), LoadValues(rows[1] + j, b * kBlockBytes + kCodes));
      }
      for (int32_t query = 0; query < queries_; query += kTileQueries)
        RunTile(query, static_cast<int32_t>(Least(kTileQueries, queries_ - query)), range);
    });
  }

  /// Of the block: the vector of key j and the next; that of the next pair is two on.
  std::byte* ValuesAt(int32_t block, int32_t j) {
    return work_.values + (block / 2 * kSpanChunk + j + block % 2) * kVectorBytes;
  }

  void RunTile(int32_t query, int32_t n, Range range) {
    range = walk_.Seen(query, n, range);
    if (range.begin >= range.end) return;
    walk_.Walk(&range);
    for (int32_t j = range.first; j < range.last; j += kPartKeys) {
      ForEachBlock(n, [&](int32_t q, int32_t rows) {
        kTileScores[rows - 1](work_.queries + (query + q) * args_.head_dim,
                              work_.query_step + query + q, work_.keys + j * args_.head_dim,
                              work_.key_scale[0] + j, args_.head_dim, work_.score[q] + j);
      });
    }
    WeighTile(query, n, range);
    ForEachPart(range, [&](int32_t part, int32_t first, int32_t last) {
      RoundTile(n, part);
      AddValues(query, n, first, last);
    });
  }

  /// Adds keys [first, last) of one part to the sums of the tile.
  void AddValues(int32_t query, int32_t n, int32_t first, int32_t last) {
    for (int32_t b = 0; b < blocks_; b += 2) {
      ForEachBlock(n, [&](int32_t q, int32_t rows) {
        kTileValues[rows - 1](
            work_.weights[q][b] + first % kSpanIntegerKeys, ValuesAt(b, first), (last - first) / 2,
            args_.head_dim, work_.factor + q, work_.weight_step[q] + b,
            args_.acc + static_cast<int64_t>(query + q) * args_.head_dim + b * kBlockDims);
      });
    }
    for (int32_t q = 0; q < n; ++q) work_.factor[q] = 1;  // applied
  }

  const AttendSpanArgs& args_;
  Work& work_;
  SpanWalk<kPartKeys> walk_;
  const int32_t queries_, blocks_;
};

void AttendSpan(const AttendSpanArgs& args) { Span(args).Run(); }

}  // namespace

OCTET_KERNELS(x86_avx512_vnni_attend_span_q8) = {
    {.name = "x86_avx512_vnni/attend_span.q8_0",
     .op = KernelOp::kAttendSpan,
     .isa = kIsaAvx512 | kIsaAvx512Vnni,
     .speed = 35,
     .format = Format::kQ8_0,
     .scratch_floats = sizeof(Work) / sizeof(float),
     .attend_span = AttendSpan,
     .merge_span = MergeSpan,
     .span_products = SpanProducts::kIntegers},
    {},
};

}  // namespace octet
