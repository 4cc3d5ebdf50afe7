// Exp of kernel.h.
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

/// Exp of kernel.h on eight values ≤ 0.
inline __m256 ExpNegative(__m256 x) {
  const __m256 shift = _mm256_set1_ps(kExpShift);
  const __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(kExpLog2E), shift);
  const __m256 n = _mm256_sub_ps(shifted, shift);
  __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-kExpLn2High), x);
  r = _mm256_fmadd_ps(n, _mm256_set1_ps(-kExpLn2Low), r);
  __m256 p = _mm256_set1_ps(kExpPoly[0]);
  for (int i = 1; i < kExpTerms; ++i) p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExpPoly[i]));
  const __m256i power =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(127)), 23);
  const __m256 value = _mm256_mul_ps(p, _mm256_castsi256_ps(power));
  const __m256 under = _mm256_cmp_ps(x, _mm256_set1_ps(kExpUnderflow), _CMP_LT_OQ);
  return _mm256_andnot_ps(under, value);
}

}  // namespace
}  // namespace octet
