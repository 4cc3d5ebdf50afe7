#include "quant/activation.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace octet {
namespace {

constexpr float kLeastTop = 0x1p-100f;

float GreatestMagnitude(const float* x, int64_t n) {
  uint32_t greatest = 0;
  for (int64_t k = 0; k < n; ++k)
    greatest = std::max(greatest, std::bit_cast<uint32_t>(x[k]) << 1 >> 1);
  return std::bit_cast<float>(greatest);
}

/// n values that share a scale, which is returned. q is all zeros before.
float QuantizeGroup(const float* x, int64_t n, int8_t* q) {
  const float top = GreatestMagnitude(x, n);
  if (top < kLeastTop) return 0.0f;
  if (!std::isfinite(top)) return std::numeric_limits<float>::quiet_NaN();
  const float inverse = 127.0f / top;
  for (int64_t k = 0; k < n; ++k) {
    // Adding 1.5·2^23 leaves no fraction bits: nearest integer, ties to even, in any rounding of
    // the C library's making.
    q[k] = static_cast<int8_t>((x[k] * inverse + 0x1.8p23f) - 0x1.8p23f);
  }
  return top / 127.0f;
}

int16_t Sum(const int8_t* q, int n) {
  int sum = 0;
  for (int k = 0; k < n; ++k) sum += q[k];
  return static_cast<int16_t>(sum);
}

}  // namespace

void QuantizeActivations(const float* x, int64_t cols, ActivationBlock* out) {
  for (int64_t begin = 0; begin < cols; begin += kActivationBlock, ++out) {
    *out = {};
    out->scale = QuantizeGroup(x + begin, std::min(kActivationBlock, cols - begin), out->q);
    for (int g = 0; g < 16; ++g) out->sum16[g] = Sum(out->q + 16 * g, 16);
    for (int g = 0; g < 8; ++g) out->sum32[g] = Sum(out->q + 32 * g, 32);
  }
}

void QuantizeActivations32(const float* x, int64_t cols, ActivationBlock* out) {
  for (int64_t begin = 0; begin < cols; begin += kActivationBlock, ++out) {
    *out = {};
    for (int g = 0; g < 8; ++g) {
      const int64_t first = begin + 32 * g, n = std::clamp<int64_t>(cols - first, 0, 32);
      out->scale32[g] = n == 0 ? 0.0f : QuantizeGroup(x + first, n, out->q + 32 * g);
      out->sum32[g] = Sum(out->q + 32 * g, 32);
    }
  }
}

}  // namespace octet
