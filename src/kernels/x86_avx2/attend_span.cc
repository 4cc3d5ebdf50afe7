// The loops of span attention in floats: eight dims at a time.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx2/float_span.h"
#include "kernels/x86_avx2/kv_rows.h"

namespace octet {
namespace {

/// Keys (or vectors of values) side by side for a block of R queries: at least eight chains of
/// fmas, in sixteen registers.
template <int R>
constexpr int kWide = R == 1   ? 8
                      : R <= 3 ? 4
                               : 2;

/// The sums of four vectors' lanes: ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)).
__m128 SumFour(const __m256* x) {
  const __m256 halves = _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
  return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}

/// Scores of R queries from sums[query][kWide<R>] to their rows.
template <int R>
void StoreScores(const __m256 (*sum)[kWide<R>], float* score) {
  constexpr int K = kWide<R>;
  if constexpr (K == 2) {
#pragma GCC unroll 3
    for (int r = 0; r < R; r += 2) {
      const int other = r + 1 < R ? r + 1 : r;
      const __m256 four[] = {sum[r][0], sum[r][1], sum[other][0], sum[other][1]};
      const __m128 two_each = SumFour(four);
      _mm_storeh_pi(reinterpret_cast<__m64*>(score + other * kSpanChunk), two_each);
      _mm_storel_pi(reinterpret_cast<__m64*>(score + r * kSpanChunk), two_each);
    }
  } else {
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r) {
      for (int k = 0; k < K; k += 4) _mm_storeu_ps(score + r * kSpanChunk + k, SumFour(sum[r] + k));
    }
  }
}

/// Scores of R queries and keys [first, last).
template <class Rows, int R>
void Scores(const Lines& keys, const float* q, int32_t first, int32_t last, int32_t head_dim,
            float* score) {
  constexpr int K = kWide<R>;
  for (int32_t j = first; j < last; j += K) {
    __m256 sum[R][K];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
      for (__m256& s : sum[r]) s = _mm256_setzero_ps();
    for (int32_t d = 0, at = 0; d < head_dim; d += kRowBlock, at += Rows::kBytes) {
      typename Rows::Scale scale[K];
#pragma GCC unroll 8
      for (int k = 0; k < K; ++k) {
        Ask(keys, j + k, at);
        scale[k] = Rows::ScaleOf(keys.rows[j + k] + at);
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        __m256 key[K];
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k) key[k] = Rows::Load(keys.rows[j + k] + at, i, scale[k]);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
          __m256 eight = _mm256_load_ps(q + r * head_dim + d + 8 * i);
          asm("" : "+x"(eight));  // read once, not once a key: loads are what there is least of
#pragma GCC unroll 8
          for (int k = 0; k < K; ++k) sum[r][k] = _mm256_fmadd_ps(key[k], eight, sum[r][k]);
        }
      }
    }
    StoreScores<R>(sum, score + j);
  }
}

/// acc · factor + weights · values, for R queries, values [first, last) and the dims of kWide<R>
/// vectors from d on.
template <class Rows, int R>
void AddValues(const Lines& values, const float* weights, int32_t first, int32_t last, int32_t d,
               int32_t head_dim, const float* factor, float* acc) {
  constexpr int V = kWide<R>;
  const int32_t at = d / kRowBlock * Rows::kBytes, vector = d % kRowBlock / 8;
  __m256 sum[R][V];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    const __m256 f = _mm256_broadcast_ss(factor + r);
    for (int v = 0; v < V; ++v)
      sum[r][v] = _mm256_mul_ps(_mm256_loadu_ps(acc + r * head_dim + d + 8 * v), f);
  }
  for (int32_t j = first; j < last; ++j) {
    __m256 value[V];
#pragma GCC unroll 2
    for (int block = 0; block < (V + 3) / 4; ++block) {
      const std::byte* stored = values.rows[j] + at + block * Rows::kBytes;
      const auto scale = Rows::ScaleOf(stored);
      if (vector == 0) Ask(values, j, at + block * Rows::kBytes);
#pragma GCC unroll 4
      for (int i = 0; i < (V < 4 ? V : 4); ++i)
        value[4 * block + i] = Rows::Load(stored, vector + i, scale);
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const __m256 p = _mm256_broadcast_ss(weights + r * kSpanChunk + j);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sum[r][v] = _mm256_fmadd_ps(p, value[v], sum[r][v]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) _mm256_storeu_ps(acc + r * head_dim + d + 8 * v, sum[r][v]);
}

template <class Rows, int R>
void Values(const Lines& values, const float* weights, int32_t first, int32_t last,
            int32_t head_dim, const float* factor, float* acc) {
  for (int32_t d = 0; d < head_dim; d += 8 * kWide<R>)
    AddValues<Rows, R>(values, weights, first, last, d, head_dim, factor, acc);
}

struct Loops {
  static constexpr int32_t kStreamBlock = 4;
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
  FloatSpan<Loops, Rows, RowsF32>(args).Run();
}

}  // namespace

#define OCTET_ATTEND_SPAN(format_name, id, rows)                                               \
  {                                                                                            \
    .name = "x86_avx2/attend_span." format_name, .op = KernelOp::kAttendSpan, .isa = kIsaAvx2, \
    .speed = 10, .format = Format::id, .scratch_floats = sizeof(Work) / sizeof(float),         \
    .attend_span = AttendSpan<rows>, .merge_span = MergeSpan,                                  \
    .span_products = SpanProducts::kFloats                                                     \
  }

OCTET_KERNELS(x86_avx2_attend_span) = {
    OCTET_ATTEND_SPAN("f16", kF16, RowsF16),
    OCTET_ATTEND_SPAN("bf16", kBf16, RowsBf16),
    OCTET_ATTEND_SPAN("q8_0", kQ8_0, RowsQ8),
    {},
};

}  // namespace octet
