// What the encoders share. Not for kernel files: it has inline functions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/f16.h"

namespace octet::quant {

/// `v` within [lo, hi]; a NaN becomes lo, so that conversions to integers are defined for any
/// input.
inline float Clamp(float v, float lo, float hi) {
  const float above = v > lo ? v : lo;
  return above < hi ? above : hi;
}

/// To the nearest integer, ties to even, for |v| < 2^22: adding 1.5·2^23 leaves no fraction bits.
/// Vectorises on every instruction set, unlike lrintf.
inline float RoundNearest(float v) { return (v + 0x1.8p23f) - 0x1.8p23f; }

/// A step as binary16, round to nearest even; beyond its range the greatest finite value, so that
/// finite weights never decode to infinities.
inline uint16_t StepBits(float step) { return ToF16(Clamp(step, -65504.0f, 65504.0f)).bits; }

inline float Reciprocal(float v) { return v != 0.0f ? 1.0f / v : 0.0f; }

/// The value of greatest magnitude, with its sign; the first of equals.
inline float Extreme(const float* x, int n) {
  float extreme = 0.0f;
  for (int i = 0; i < n; ++i)
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  return extreme;
}

/// Copies the importance of a group of n values; all ones when there is none, or it is all zero.
inline void GroupWeights(const float* importance, int n, float* weights) {
  float greatest = 0.0f;
  if (importance != nullptr)
    for (int i = 0; i < n; ++i) greatest = std::max(greatest, importance[i]);
  for (int i = 0; i < n; ++i) weights[i] = greatest > 0.0f ? importance[i] : 1.0f;
}

/// Four floats at once, as a vector type of GCC and Clang: the width that every target has. The
/// searches are spelled with it because the compilers do not vectorise their sums by themselves
/// (reordering float additions would change bits); here the order is the source's.
typedef float Float4 __attribute__((vector_size(16)));
typedef int32_t Int4 __attribute__((vector_size(16)));

inline Float4 Splat(float v) { return Float4{v, v, v, v}; }

inline Float4 Load4(const float* p) {
  Float4 v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

inline Float4 Clamp(Float4 v, float lo, float hi) {
  const Float4 above = v > Splat(lo) ? v : Splat(lo);
  return above < Splat(hi) ? above : Splat(hi);
}

inline Float4 RoundNearest(Float4 v) { return (v + Splat(0x1.8p23f)) - Splat(0x1.8p23f); }

inline float Sum(Float4 v) { return (v[0] + v[2]) + (v[1] + v[3]); }

}  // namespace octet::quant
