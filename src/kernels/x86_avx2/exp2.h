// Exp2 of kernel.h, as SpanProducts::kFloats takes it.
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

/// Exp2 of kernel.h on eight values ≤ 0.
inline __m256 Exp2(__m256 x) {
  const __m256 whole = _mm256_floor_ps(x);
  const __m256 f = _mm256_sub_ps(x, whole);
  __m256 p = _mm256_set1_ps(kExp2Poly[0]);
  for (int i = 1; i < kExp2Terms; ++i) p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(kExp2Poly[i]));
  const __m256i power =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvttps_epi32(whole), _mm256_set1_epi32(127)), 23);
  const __m256 value = _mm256_mul_ps(p, _mm256_castsi256_ps(power));
  const __m256 under = _mm256_cmp_ps(x, _mm256_set1_ps(kExp2Underflow), _CMP_LT_OQ);
  return _mm256_andnot_ps(under, value);
}

}  // namespace
}  // namespace octet
