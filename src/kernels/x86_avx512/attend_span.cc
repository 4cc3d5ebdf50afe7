// The loops of span attention in floats: eight dims of two keys at a time, sixteen dims of values.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx2/float_span.h"
#include "kernels/x86_avx512/kv_rows.h"

namespace octet {
namespace {

constexpr int kVectors = 4;  // of values
/// Pairs of keys side by side for a block of R queries.
template <int R>
constexpr int kPairs = R == 1 ? 8 : 4;

/// Neighbours' sums: a's in the lower halves of the 128-bit lanes, b's in the upper.
__m512 AddNeighbours(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
}

/// The sums of each half's lanes of four vectors, ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)), to
/// the scores of eight keys.
void StoreEight(const __m512* x, float* score) {
  const __m512 quarters = AddNeighbours(AddNeighbours(x[0], x[1]), AddNeighbours(x[2], x[3]));
  const __m512 sums = _mm512_add_ps(quarters, _mm512_shuffle_f32x4(quarters, quarters, 0xb1));
  const __m128 even = _mm512_castps512_ps128(sums), odd = _mm512_extractf32x4_ps(sums, 2);
  _mm_storeu_ps(score, _mm_unpacklo_ps(even, odd));
  _mm_storeu_ps(score + 4, _mm_unpackhi_ps(even, odd));
}

/// Scores of R queries and keys [first, last).
template <class Rows, int R>
void Scores(const Lines& keys, const float* q, int32_t first, int32_t last, int32_t head_dim,
            float* score) {
  constexpr int P = kPairs<R>;
  for (int32_t j = first; j < last; j += 2 * P) {
    __m512 sum[R][P];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
      for (__m512& s : sum[r]) s = _mm512_setzero_ps();
    for (int32_t d = 0, at = 0; d < head_dim; d += kRowBlock, at += Rows::kBytes) {
      decltype(Rows::PairScale(nullptr, nullptr)) scale[P];
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) {
        Ask(keys, j + 2 * p, at);
        Ask(keys, j + 2 * p + 1, at);
        scale[p] = Rows::PairScale(keys.rows[j + 2 * p] + at, keys.rows[j + 2 * p + 1] + at);
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        __m512 key[P];
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) {
          key[p] =
              Rows::LoadPair(keys.rows[j + 2 * p] + at, keys.rows[j + 2 * p + 1] + at, i, scale[p]);
        }
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
          const __m512 eight = _mm512_broadcast_f32x8(_mm256_load_ps(q + r * head_dim + d + 8 * i));
#pragma GCC unroll 8
          for (int p = 0; p < P; ++p) sum[r][p] = _mm512_fmadd_ps(key[p], eight, sum[r][p]);
        }
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
      for (int p = 0; p < P; p += 4) StoreEight(sum[r] + p, score + r * kSpanChunk + j + 2 * p);
  }
}

/// acc · factor + weights · values, for R queries, values [first, last) and 64 dims from d on.
template <class Rows, int R>
void AddValues(const Lines& values, const float* weights, int32_t first, int32_t last, int32_t d,
               int32_t head_dim, const float* factor, float* acc) {
  const int32_t at = d / kRowBlock * Rows::kBytes;
  __m512 sum[R][kVectors];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    const __m512 f = _mm512_set1_ps(factor[r]);
    for (int v = 0; v < kVectors; ++v)
      sum[r][v] = _mm512_mul_ps(_mm512_loadu_ps(acc + r * head_dim + d + 16 * v), f);
  }
  for (int32_t j = first; j < last; ++j) {
    __m512 value[kVectors];
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const std::byte* block = values.rows[j] + at + half * Rows::kBytes;
      const auto scale = Rows::HalfScale(block);
      Ask(values, j, at + half * Rows::kBytes);
      value[2 * half] = Rows::LoadHalf(block, 0, scale);
      value[2 * half + 1] = Rows::LoadHalf(block, 1, scale);
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const __m512 p = _mm512_set1_ps(weights[r * kSpanChunk + j]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm512_fmadd_ps(p, value[v], sum[r][v]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(acc + r * head_dim + d + 16 * v, sum[r][v]);
}

template <class Rows, int R>
void Values(const Lines& values, const float* weights, int32_t first, int32_t last,
            int32_t head_dim, const float* factor, float* acc) {
  for (int32_t d = 0; d < head_dim; d += 16 * kVectors)
    AddValues<Rows, R>(values, weights, first, last, d, head_dim, factor, acc);
}

struct Loops {
  static constexpr int32_t kStreamBlock = kBlockQueries;
  template <class Rows>
  static constexpr decltype(&Scores<Rows, 1>) kScores[] = {Scores<Rows, 1>, Scores<Rows, 2>,
                                                           Scores<Rows, 3>, Scores<Rows, 4>,
                                                           Scores<Rows, 5>, Scores<Rows, 6>};
  template <class Rows>
  static constexpr decltype(&Values<Rows, 1>) kValues[] = {Values<Rows, 1>, Values<Rows, 2>,
                                                           Values<Rows, 3>, Values<Rows, 4>,
                                                           Values<Rows, 5>, Values<Rows, 6>};
};

template <class Rows>
void AttendSpan(const AttendSpanArgs& args) {
  FloatSpan<Loops, Rows, WideF32>(args).Run();
}

}  // namespace

#define OCTET_ATTEND_SPAN(format_name, id, rows)                                                   \
  {                                                                                                \
    .name = "x86_avx512/attend_span." format_name, .op = KernelOp::kAttendSpan, .isa = kIsaAvx512, \
    .speed = 20, .format = Format::id, .scratch_floats = sizeof(Work) / sizeof(float),             \
    .attend_span = AttendSpan<rows>, .merge_span = MergeSpan,                                      \
    .span_products = SpanProducts::kFloats                                                         \
  }

OCTET_KERNELS(x86_avx512_attend_span) = {
    OCTET_ATTEND_SPAN("f16", kF16, WideF16),
    OCTET_ATTEND_SPAN("bf16", kBf16, WideBf16),
    OCTET_ATTEND_SPAN("q8_0", kQ8_0, WideQ8),
    {},
};

}  // namespace octet
