// The head's softmax between tile products: sums over a stretch of the vocabulary, and its gradient
// as operands.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx512/exp.h"
#include "kernels/x86_avx512/transpose.h"
#include "kernels/x86_avx512_bf16/interleave.h"

namespace octet {
namespace {

__mmask16 Rest(int64_t left) {
  return static_cast<__mmask16>(left >= 16 ? 0xffff : left <= 0 ? 0 : (1u << left) - 1);
}

float Greatest(const float* z, int64_t n, float m) {
  __m512 even = _mm512_set1_ps(m), odd = even;
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    even = _mm512_max_ps(even, _mm512_loadu_ps(z + i));
    odd = _mm512_max_ps(odd, _mm512_loadu_ps(z + i + 16));
  }
  for (; i < n; i += 16)
    even = _mm512_mask_max_ps(even, Rest(n - i), even, _mm512_maskz_loadu_ps(Rest(n - i), z + i));
  return _mm512_reduce_max_ps(_mm512_max_ps(even, odd));
}

/// The canonical tree.
float SumLanes(__m512 lanes) {
  const __m256 eight =
      _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

void LogSum(const LogSumArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    const float* z = args.z + r * args.stride;
    const float m = Greatest(z, args.n, args.m[r]);
    const __m512 shift = _mm512_set1_ps(m);
    __m512 lanes = _mm512_setzero_ps();
    for (int64_t i = 0; i < args.n; i += 16) {
      const __mmask16 mask = Rest(args.n - i);
      const __m512 x = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, z + i), shift);
      lanes = _mm512_mask_add_ps(lanes, mask, lanes, ExpNegative(x));
    }
    const float decay = _mm512_cvtss_f32(ExpNegative(_mm512_set1_ps(args.m[r] - m)));
    args.sum[r] = args.sum[r] * decay + SumLanes(lanes);
    args.m[r] = m;
  }
}

/// Sixteen columns from c on of row r. kWhole: all of them exist.
template <bool kWhole>
inline __m512 GradOf(const TargetTilesArgs& args, int64_t r, int64_t c) {
  if (!kWhole && r >= args.rows) return _mm512_setzero_ps();
  const __mmask16 mask = kWhole ? __mmask16{0xffff} : Rest(args.n - c);
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512 z = _mm512_maskz_loadu_ps(mask, args.z + r * args.stride + c);
  const __m512 p = ExpNegative(_mm512_sub_ps(z, _mm512_set1_ps(args.log_sum[r])));
  const __m512i target = _mm512_set1_epi32(args.target[r] - static_cast<int32_t>(c));
  const __m512 hit =
      _mm512_maskz_mov_ps(_mm512_cmpeq_epi32_mask(lane, target), _mm512_set1_ps(1.0f));
  return _mm512_maskz_mul_ps(mask, _mm512_set1_ps(args.d_log_prob[r]), _mm512_sub_ps(hit, p));
}

/// 32 rows and 32 columns from (r, c) on.
template <bool kWhole>
void GradTile(const TargetTilesArgs& args, int64_t r, int64_t c) {
  __m512i words[2][16];  // [half of the columns][pair of rows]
  for (int64_t p = 0; p < 16; ++p) {
    __m512 x[2][2];  // [row][half]
    for (int64_t k = 0; k < 2; ++k) {
      const int64_t row = r + 2 * p + k;
      for (int64_t h = 0; h < 2; ++h) x[k][h] = GradOf<kWhole>(args, row, c + 16 * h);
      const int64_t line =
          (row / 16 * args.panel_tiles + c / kTileDepth) * kTileValues + row % 16 * kTileDepth;
      _mm512_store_si512(args.tiles + line, Rounded(x[k][0], x[k][1]));
    }
    for (int64_t h = 0; h < 2; ++h) words[h][p] = Interleaved(x[0][h], x[1][h]);
  }
  for (int64_t h = 0; h < 2 && args.turned != nullptr; ++h) {
    TransposeWords(words[h]);
    uint16_t* out =
        args.turned + ((c / 16 + h) * args.turned_panel_tiles + r / kTileDepth) * kTileValues;
    for (int64_t i = 0; i < 16; ++i) _mm512_store_si512(out + i * kTileDepth, words[h][i]);
  }
}

void TargetTiles(const TargetTilesArgs& args) {
  for (int64_t r = 0; r < args.rows; r += kTileDepth) {
    const int64_t whole = r + kTileDepth <= args.rows ? args.n / kTileDepth * kTileDepth : 0;
    int64_t c = 0;
    for (; c < whole; c += kTileDepth) GradTile<true>(args, r, c);
    for (; c < args.n; c += kTileDepth) GradTile<false>(args, r, c);
  }
}

}  // namespace

#define OCTET_TARGET_TILES(op_id, member, function)                                                \
  {                                                                                                \
    .name = "x86_avx512_bf16/" #member, .op = KernelOp::op_id, .isa = kIsaAvx512 | kIsaAvx512Bf16, \
    .speed = 35, .member = function                                                                \
  }

OCTET_KERNELS(x86_avx512_bf16_target_tiles) = {
    OCTET_TARGET_TILES(kLogSum, log_sum, LogSum),
    OCTET_TARGET_TILES(kTargetTiles, target_tiles, TargetTiles),
    {},
};

}  // namespace octet
