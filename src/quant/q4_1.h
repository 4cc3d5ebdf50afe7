// Q4_1: 32 values in 20 bytes, 5 bits a value. A binary16 step `d`, a binary16 offset `m` (the
// block's least value) and 4-bit codes:
//   value = d · code + m
// Nibbles are placed as in Q4_0: byte j holds value j low and value j + 16 high.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet {

struct BlockQ4_1 {
  static constexpr int kValues = 32;
  uint16_t d;  // binary16
  uint16_t m;  // binary16
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_1) == 20);

void DecodeQ4_1(const std::byte* blocks, int64_t n, float* out);
/// Encode: as ggml's reference quantiser does, bit for bit. EncodeWeighted searches the step.
void EncodeQ4_1(const float* values, int64_t n, std::byte* blocks);
void EncodeWeightedQ4_1(const float* values, const float* importance, int64_t n, std::byte* blocks);

}  // namespace octet
