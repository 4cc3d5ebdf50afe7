// Exp of kernel.h.
#pragma once

#include <bit>
#include <cmath>

#include "kernels/kernel.h"

namespace octet {
namespace {

/// e^x for x ≤ 0, as kernel.h defines it.
inline float ExpNegative(float x) {
  if (x < kExpUnderflow) return 0.0f;
  const float shifted = std::fma(x, kExpLog2E, kExpShift);
  const float n = shifted - kExpShift;
  float r = std::fma(n, -kExpLn2High, x);
  r = std::fma(n, -kExpLn2Low, r);
  float p = kExpPoly[0];
  for (int i = 1; i < kExpTerms; ++i) p = std::fma(p, r, kExpPoly[i]);
  return p * std::bit_cast<float>((std::bit_cast<uint32_t>(shifted) + 127u) << 23);
}

}  // namespace
}  // namespace octet
