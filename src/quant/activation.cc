#include "quant/activation.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace octet {
namespace {

constexpr float kLeastTop = 0x1p-100f;

float GreatestMagnitude(const float* x, int n) {
  uint32_t greatest = 0;
  for (int k = 0; k < n; ++k)
    greatest = std::max(greatest, std::bit_cast<uint32_t>(x[k]) << 1 >> 1);
  return std::bit_cast<float>(greatest);
}

}  // namespace

void QuantizeActivations(const float* x, int64_t cols, ActivationBlock* out) {
  for (int64_t begin = 0; begin < cols; begin += kActivationBlock, ++out) {
    const auto n = static_cast<int>(std::min(kActivationBlock, cols - begin));
    *out = {};
    const float top = GreatestMagnitude(x + begin, n);
    if (top < kLeastTop) continue;
    if (!std::isfinite(top)) {
      out->scale = std::numeric_limits<float>::quiet_NaN();
      continue;
    }
    out->scale = top / 127.0f;
    const float inverse = 127.0f / top;
    for (int k = 0; k < n; ++k) {
      // Adding 1.5·2^23 leaves no fraction bits: nearest integer, ties to even, in any rounding of
      // the C library's making.
      const float rounded = (x[begin + k] * inverse + 0x1.8p23f) - 0x1.8p23f;
      out->q[k] = static_cast<int8_t>(rounded);
      out->sum16[k / 16] = static_cast<int16_t>(out->sum16[k / 16] + out->q[k]);
      out->sum32[k / 32] = static_cast<int16_t>(out->sum32[k / 32] + out->q[k]);
    }
  }
}

}  // namespace octet
