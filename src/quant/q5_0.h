// Q5_0: 32 values in 22 bytes, 5.5 bits a value. One binary16 step `d` and 5-bit codes around 16:
//   value = d · (code − 16)
// The low four bits of the codes are placed as in Q4_0 (byte j: value j low, value j + 16 high);
// bit i of the little-endian 32-bit word qh is the fifth bit of value i.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet {

struct BlockQ5_0 {
  static constexpr int kValues = 32;
  uint16_t d;     // binary16
  uint8_t qh[4];  // bytes, because a block is only 2-aligned
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_0) == 22);

void DecodeQ5_0(const std::byte* blocks, int64_t n, float* out);
/// Encode: as ggml's reference quantiser does, bit for bit. EncodeWeighted searches the step.
void EncodeQ5_0(const float* values, int64_t n, std::byte* blocks);
void EncodeWeightedQ5_0(const float* values, const float* importance, int64_t n, std::byte* blocks);

}  // namespace octet
