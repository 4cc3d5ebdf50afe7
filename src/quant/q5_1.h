// Q5_1: 32 values in 24 bytes, 6 bits a value. A binary16 step `d`, a binary16 offset `m` and 5-bit
// codes:
//   value = d · code + m
// Codes are placed as in Q5_0: nibbles j and j + 16 in byte j, fifth bits in the 32-bit word qh.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet {

struct BlockQ5_1 {
  static constexpr int kValues = 32;
  uint16_t d;  // binary16
  uint16_t m;  // binary16
  uint8_t qh[4];
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_1) == 24);

void DecodeQ5_1(const std::byte* blocks, int64_t n, float* out);
/// Encode: as ggml's reference quantiser does, bit for bit. EncodeWeighted searches the step.
void EncodeQ5_1(const float* values, int64_t n, std::byte* blocks);
void EncodeWeightedQ5_1(const float* values, const float* importance, int64_t n, std::byte* blocks);

}  // namespace octet
