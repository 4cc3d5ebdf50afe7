// Exp2 of kernel.h.
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

/// Exp2 of kernel.h. vscalefps multiplies by 2^floor(x).
inline __m512 Exp2(__m512 x) {
  constexpr int kFloorQuietly = 0x09;
  const __m512 f = _mm512_reduce_ps(x, kFloorQuietly);
  __m512 p = _mm512_set1_ps(kExp2Poly[0]);
  for (int i = 1; i < kExp2Terms; ++i) p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(kExp2Poly[i]));
  return _mm512_scalef_ps(p, x);
}

}  // namespace
}  // namespace octet
