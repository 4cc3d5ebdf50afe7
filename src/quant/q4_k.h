// Q4_K: 256 values in 144 bytes, 4.5 bits a value. Eight groups of 32 consecutive values, each with
// a 6-bit scale and a 6-bit minimum, and the binary16 `d` and `dmin` of the super-block:
//   value = (d · scale[g]) · code − dmin · min[g],  code in 0..15
// Codes: 32 bytes serve two neighbouring groups; byte 32·p + l holds value l of group 2p in its low
// nibble and value l of group 2p + 1 in its high nibble.
// Scales (shared with Q5_K): bytes 0–3 hold scales 0–3 in their low six bits and the top two bits
// of scales 4–7 above them; bytes 4–7 the same of the minima; bytes 8–11 the low four bits of
// scales 4–7 in the low nibble and of minima 4–7 in the high nibble.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet {

struct BlockQ4_K {
  static constexpr int kValues = 256;
  uint16_t d;     // binary16
  uint16_t dmin;  // binary16
  uint8_t scales[12];
  uint8_t qs[128];
};
static_assert(sizeof(BlockQ4_K) == 144);

/// The eight scales and the eight minima, 0..63, of a Q4_K or Q5_K super-block.
void UnpackScalesQ4_K(const uint8_t packed[12], uint8_t scales[8], uint8_t mins[8]);

/// The reverse: eight scales and eight minima, each 0..63.
void PackScalesQ4_K(const int scales[8], const int mins[8], uint8_t packed[12]);

void DecodeQ4_K(const std::byte* blocks, int64_t n, float* out);
/// Encode is EncodeWeighted with equal importance; both search scales and codes.
void EncodeQ4_K(const float* values, int64_t n, std::byte* blocks);
void EncodeWeightedQ4_K(const float* values, const float* importance, int64_t n, std::byte* blocks);

}  // namespace octet
