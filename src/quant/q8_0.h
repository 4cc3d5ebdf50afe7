// Q8_0: 32 values in 34 bytes, 8.5 bits a value. One binary16 step `d` and signed bytes in order:
//   value = d · q
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet {

struct BlockQ8_0 {
  static constexpr int kValues = 32;
  uint16_t d;  // binary16
  int8_t qs[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

void DecodeQ8_0(const std::byte* blocks, int64_t n, float* out);
/// Encode: as ggml's reference quantiser does, bit for bit. EncodeWeighted searches the step.
void EncodeQ8_0(const float* values, int64_t n, std::byte* blocks);
void EncodeWeightedQ8_0(const float* values, const float* importance, int64_t n, std::byte* blocks);

}  // namespace octet
