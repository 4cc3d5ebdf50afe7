// Q5_K: 256 values in 176 bytes, 5.5 bits a value. Q4_K with a fifth bit: eight groups of 32
// values, 6-bit scales and minima packed as in Q4_K, binary16 `d` and `dmin`:
//   value = (d · scale[g]) · code − dmin · min[g],  code in 0..31
// The low four bits of the codes are placed as in Q4_K; bit g of qh[l] is the fifth bit of value l
// of group g.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet {

struct BlockQ5_K {
  static constexpr int kValues = 256;
  uint16_t d;          // binary16
  uint16_t dmin;       // binary16
  uint8_t scales[12];  // UnpackScalesQ4_K
  uint8_t qh[32];
  uint8_t qs[128];
};
static_assert(sizeof(BlockQ5_K) == 176);

void DecodeQ5_K(const std::byte* blocks, int64_t n, float* out);
/// Encode is EncodeWeighted with equal importance; both search scales and codes.
void EncodeQ5_K(const float* values, int64_t n, std::byte* blocks);
void EncodeWeightedQ5_K(const float* values, const float* importance, int64_t n, std::byte* blocks);

}  // namespace octet
