// Q3_K: 256 values in 110 bytes, 3.4375 bits a value. Sixteen groups of 16 consecutive values with
// a 6-bit scale each, and one binary16 `d`:
//   value = d · (scale[g] − 32) · (code − 4),  code in 0..7
// Codes: the low two bits are placed as in Q2_K (two halves of 32 bytes; bits 2s, 2s + 1 of byte l
// belong to value 32·s + l of the half); the third bit of value 32·t + l of the super-block
// (t = 0..7) is bit t of hmask[l].
// Scales: low four bits of scale g in byte g of `scales` (low nibble, g < 8) or byte g − 8 (high
// nibble); the upper two bits in byte 8 + g % 4, at bit 2·(g / 4).
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet {

struct BlockQ3_K {
  static constexpr int kValues = 256;
  uint8_t hmask[32];
  uint8_t qs[64];
  uint8_t scales[12];
  uint16_t d;  // binary16
};
static_assert(sizeof(BlockQ3_K) == 110);

/// The sixteen scales, −32..31.
void UnpackScalesQ3_K(const uint8_t packed[12], int8_t scales[16]);

void DecodeQ3_K(const std::byte* blocks, int64_t n, float* out);
/// Encode is EncodeWeighted with equal importance; both search scales and codes.
void EncodeQ3_K(const float* values, int64_t n, std::byte* blocks);
void EncodeWeightedQ3_K(const float* values, const float* importance, int64_t n, std::byte* blocks);

}  // namespace octet
