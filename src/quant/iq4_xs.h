// IQ4_XS: 256 values in 136 bytes, 4.25 bits a value. Eight groups of 32 consecutive values with
// the levels of IQ4_NL, a 6-bit scale each, and one binary16 `d`:
//   value = (d · (scale[g] − 32)) · level[code]
// Codes: group g owns bytes 16·g … 16·g + 15 of qs, nibbles as in Q4_0 (value j low, j + 16 high).
// Scales: the low four bits of scale g are in scales_l[g / 2], low nibble for even g and high for
// odd; the upper two bits are bits 2g and 2g + 1 of scales_h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet {

struct BlockIq4_Xs {
  static constexpr int kValues = 256;
  uint16_t d;  // binary16
  uint16_t scales_h;
  uint8_t scales_l[4];
  uint8_t qs[128];
};
static_assert(sizeof(BlockIq4_Xs) == 136);

/// The eight scales, −32..31.
void UnpackScalesIq4_Xs(const BlockIq4_Xs& block, int8_t scales[8]);

void DecodeIq4_Xs(const std::byte* blocks, int64_t n, float* out);
/// Encode is EncodeWeighted with equal importance; both search scales and codes.
void EncodeIq4_Xs(const float* values, int64_t n, std::byte* blocks);
void EncodeWeightedIq4_Xs(const float* values, const float* importance, int64_t n,
                          std::byte* blocks);

}  // namespace octet
