// Q4_0: 32 values in 18 bytes, 4.5 bits a value. One binary16 step `d` and 4-bit codes around 8:
//   value = d · (code − 8)
// Byte j of qs holds value j in its low nibble and value j + 16 in its high nibble, so that one
// mask and one shift part a vector of bytes into two runs of 16 consecutive values.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet {

struct BlockQ4_0 {
  static constexpr int kValues = 32;
  uint16_t d;  // binary16
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_0) == 18);

void DecodeQ4_0(const std::byte* blocks, int64_t n, float* out);
/// Encode: as ggml's reference quantiser does, bit for bit. EncodeWeighted searches the step.
void EncodeQ4_0(const float* values, int64_t n, std::byte* blocks);
void EncodeWeightedQ4_0(const float* values, const float* importance, int64_t n, std::byte* blocks);

}  // namespace octet
