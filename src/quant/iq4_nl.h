// IQ4_NL: 32 values in 18 bytes, 4.5 bits a value. As Q4_0, but a 4-bit code chooses from a table
// of sixteen levels that lie closer together near zero, where weights of a bell-shaped distribution
// are, and one binary16 step `d`:
//   value = d · level[code]
// Nibbles as in Q4_0: byte j holds value j low and value j + 16 high. The step is negative in many
// blocks, because the levels reach from −127 to 113.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet {

/// The levels of IQ4_NL and IQ4_XS. They are part of the format.
inline constexpr int8_t kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

struct BlockIq4_Nl {
  static constexpr int kValues = 32;
  uint16_t d;  // binary16
  uint8_t qs[16];
};
static_assert(sizeof(BlockIq4_Nl) == 18);

void DecodeIq4_Nl(const std::byte* blocks, int64_t n, float* out);
/// Encode is EncodeWeighted with equal importance; both search scales and codes.
void EncodeIq4_Nl(const float* values, int64_t n, std::byte* blocks);
void EncodeWeightedIq4_Nl(const float* values, const float* importance, int64_t n,
                          std::byte* blocks);

}  // namespace octet
