#include "quant/float_formats.h"

#include <cstring>

#include "base/f16.h"

namespace octet {

void DecodeF32(const std::byte* blocks, int64_t n, float* out) {
  if (n > 0) std::memcpy(out, blocks, static_cast<size_t>(n) * sizeof(float));
}

void DecodeF16(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    F16 value;
    std::memcpy(&value, blocks + i * 2, 2);
    out[i] = ToFloat(value);
  }
}

void DecodeBf16(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    Bf16 value;
    std::memcpy(&value, blocks + i * 2, 2);
    out[i] = ToFloat(value);
  }
}

}  // namespace octet
