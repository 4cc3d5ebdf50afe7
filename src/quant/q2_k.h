// Q2_K: 256 values in 84 bytes, 2.625 bits a value. Sixteen groups of 16 consecutive values, each
// with a 4-bit scale and a 4-bit minimum, which the binary16 `d` and `dmin` of the super-block
// turn into a step and an offset:
//   value = (d · scale[g]) · code − dmin · min[g],  code in 0..3
// scales[g] holds the scale of group g in its low nibble and the minimum in its high nibble.
// Codes: the super-block has two halves of 128 values and 32 bytes; within a half, bits 2s and
// 2s + 1 of byte l are the code of value 32·s + l (s = 0..3, l = 0..31).
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet {

struct BlockQ2_K {
  static constexpr int kValues = 256;
  uint8_t scales[16];
  uint8_t qs[64];
  uint16_t d;     // binary16
  uint16_t dmin;  // binary16
};
static_assert(sizeof(BlockQ2_K) == 84);

void DecodeQ2_K(const std::byte* blocks, int64_t n, float* out);
/// Encode is EncodeWeighted with equal importance; both search scales and codes.
void EncodeQ2_K(const float* values, int64_t n, std::byte* blocks);
void EncodeWeightedQ2_K(const float* values, const float* importance, int64_t n, std::byte* blocks);

}  // namespace octet
