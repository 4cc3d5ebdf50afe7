// bf16 as the instructions of AVX512_BF16 and AMX take it.
#pragma once

#include <bit>
#include <cstdint>

namespace octet {
namespace {

/// To nearest even; a subnormal is 0, a NaN stays one.
inline uint16_t ToBf16(float x) {
  auto bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);
  if ((bits & 0x7f800000u) == 0) return static_cast<uint16_t>(bits >> 16 & 0x8000);
  bits += 0x7fff + ((bits >> 16) & 1);
  return static_cast<uint16_t>(bits >> 16);
}

inline float Widened(uint16_t x) { return std::bit_cast<float>(static_cast<uint32_t>(x) << 16); }

/// Where value k of output i lies in its tile (PackTilesArgs).
inline int64_t PlaceInTile(int64_t i, int64_t k, bool pairs) {
  return pairs ? k / 2 * 32 + 2 * i + k % 2 : i * 32 + k;
}

}  // namespace
}  // namespace octet
