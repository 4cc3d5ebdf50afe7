// Scales of eight groups of activations at once (quant/activation.h); for the quantisers of several
// instruction sets.
#pragma once

#include <immintrin.h>

namespace octet {
namespace {

/// Lane g of the result is the greatest lane of tops[g], all unsigned.
inline __m256i GreatestOfEach(const __m256i tops[8]) {
  __m256i pair[4], four[2];
  for (int i = 0; i < 4; ++i) {
    pair[i] = _mm256_max_epu32(_mm256_unpacklo_epi32(tops[2 * i], tops[2 * i + 1]),
                               _mm256_unpackhi_epi32(tops[2 * i], tops[2 * i + 1]));
  }
  for (int i = 0; i < 2; ++i) {
    four[i] = _mm256_max_epu32(_mm256_unpacklo_epi64(pair[2 * i], pair[2 * i + 1]),
                               _mm256_unpackhi_epi64(pair[2 * i], pair[2 * i + 1]));
  }
  return _mm256_max_epu32(_mm256_permute2x128_si256(four[0], four[1], 0x20),
                          _mm256_permute2x128_si256(four[0], four[1], 0x31));
}

/// Of the groups whose greatest magnitudes are `tops`.
struct GroupScales {
  explicit GroupScales(__m256i tops) {
    const __m256 greatest = _mm256_castsi256_ps(tops), most = _mm256_set1_ps(127.0f);
    const __m256 finite =
        _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(0x7f800000), tops));
    const __m256 large = _mm256_cmp_ps(greatest, _mm256_set1_ps(0x1p-100f), _CMP_GE_OQ);
    const __m256 nan = _mm256_set1_ps(__builtin_nanf(""));
    const __m256 kept = _mm256_and_ps(finite, large);
    _mm256_store_ps(
        scale, _mm256_blendv_ps(nan, _mm256_and_ps(_mm256_div_ps(greatest, most), large), finite));
    _mm256_store_ps(inverse, _mm256_div_ps(most, greatest));
    _mm256_store_si256(reinterpret_cast<__m256i*>(keep), _mm256_castps_si256(kept));
  }
  alignas(32) float scale[8];
  alignas(32) float inverse[8];
  alignas(32) int keep[8];  // all ones, or zero where all codes are 0
};

}  // namespace
}  // namespace octet
