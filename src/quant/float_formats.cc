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

void EncodeF32(const float* values, int64_t n, std::byte* blocks) {
  if (n > 0) std::memcpy(blocks, values, static_cast<size_t>(n) * sizeof(float));
}

void EncodeF16(const float* values, int64_t n, std::byte* blocks) {
  for (int64_t i = 0; i < n; ++i) {
    const F16 value = ToF16(values[i]);
    std::memcpy(blocks + i * 2, &value, 2);
  }
}

void EncodeBf16(const float* values, int64_t n, std::byte* blocks) {
  for (int64_t i = 0; i < n; ++i) {
    const Bf16 value = ToBf16(values[i]);
    std::memcpy(blocks + i * 2, &value, 2);
  }
}

void EncodeWeightedF32(const float* values, const float*, int64_t n, std::byte* blocks) {
  EncodeF32(values, n, blocks);
}

void EncodeWeightedF16(const float* values, const float*, int64_t n, std::byte* blocks) {
  EncodeF16(values, n, blocks);
}

void EncodeWeightedBf16(const float* values, const float*, int64_t n, std::byte* blocks) {
  EncodeBf16(values, n, blocks);
}

}  // namespace octet
