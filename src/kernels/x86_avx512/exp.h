// Exp of kernel.h.
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

/// Exp of kernel.h on sixteen values ≤ 0.
inline __m512 ExpNegative(__m512 x) {
  const __m512 shift = _mm512_set1_ps(kExpShift);
  const __m512 shifted = _mm512_fmadd_ps(x, _mm512_set1_ps(kExpLog2E), shift);
  const __m512 n = _mm512_sub_ps(shifted, shift);
  __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-kExpLn2High), x);
  r = _mm512_fmadd_ps(n, _mm512_set1_ps(-kExpLn2Low), r);
  __m512 p = _mm512_set1_ps(kExpPoly[0]);
  for (int i = 1; i < kExpTerms; ++i) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kExpPoly[i]));
  const __m512i power =
      _mm512_slli_epi32(_mm512_add_epi32(_mm512_castps_si512(shifted), _mm512_set1_epi32(127)), 23);
  const __m512 value = _mm512_mul_ps(p, _mm512_castsi512_ps(power));
  const __mmask16 under = _mm512_cmp_ps_mask(x, _mm512_set1_ps(kExpUnderflow), _CMP_LT_OQ);
  return _mm512_mask_mov_ps(value, under, _mm512_setzero_ps());
}

}  // namespace
}  // namespace octet
