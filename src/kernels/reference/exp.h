// Exp and Exp2 of kernel.h.
#pragma once

#include <algorithm>
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

/// 2^x. vreduceps, which takes the floor away, rounds down.
inline float Exp2(float x) {
  if (std::isnan(x) || x > 1000.0f) return x > 0 ? HUGE_VALF : x;
  const double exact = static_cast<double>(x) - std::floor(x);
  auto f = static_cast<float>(exact);
  if (f > exact) f = std::nextafter(f, 0.0f);
  float p = kExp2Poly[0];
  for (int i = 1; i < kExp2Terms; ++i) p = std::fma(p, f, kExp2Poly[i]);
  return std::ldexp(p, static_cast<int>(std::max(std::floor(x), -1000.0f)));
}

}  // namespace
}  // namespace octet
