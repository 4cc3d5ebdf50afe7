// Q6_K: 256 values in 210 bytes, 6.5625 bits a value. Sixteen groups of 16 consecutive values with
// a signed 8-bit scale each, and one binary16 `d`:
//   value = (d · scale[g]) · (code − 32),  code in 0..63
// Codes: the super-block has two halves of 128 values, each with 64 bytes of ql and 32 of qh. A
// half is four runs of 32 values (r = 0..3). The low four bits of value l of run r are in byte
// 32·(r % 2) + l of the half's ql, low nibble for r < 2 and high nibble otherwise; the upper two
// bits are bits 2r and 2r + 1 of byte l of the half's qh.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet {

struct BlockQ6_K {
  static constexpr int kValues = 256;
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  uint16_t d;  // binary16
};
static_assert(sizeof(BlockQ6_K) == 210);

void DecodeQ6_K(const std::byte* blocks, int64_t n, float* out);
/// Encode is EncodeWeighted with equal importance; both search scales and codes.
void EncodeQ6_K(const float* values, int64_t n, std::byte* blocks);
void EncodeWeightedQ6_K(const float* values, const float* importance, int64_t n, std::byte* blocks);

}  // namespace octet
