// The level quantiser of IQ4_NL and IQ4_XS for the encoders. Not for kernel files.
#pragma once

#include <array>

#include "quant/encode_common.h"
#include "quant/iq4_nl.h"

namespace octet::quant {

/// Codes of the nearest level by half-unit intervals: entry i serves values between −127 + i/2 and
/// −127 + (i + 1)/2. All midpoints between levels are multiples of a half, so no interval holds
/// one.
constexpr std::array<uint8_t, 481> MakeIq4Codes() {
  std::array<uint8_t, 481> codes = {};
  for (int i = 0; i < 481; ++i) {
    int code = 0;
    // Twice the midpoint against twice the interval's centre.
    while (code < 15 && 2 * (kIq4Levels[code] + kIq4Levels[code + 1]) < 2 * (i - 254) + 1) ++code;
    codes[static_cast<size_t>(i)] = static_cast<uint8_t>(code);
  }
  return codes;
}
inline constexpr std::array<uint8_t, 481> kIq4Codes = MakeIq4Codes();

struct Iq4Levels {
  /// The code of the level nearest to v.
  static int NearestCode(float v) {
    return kIq4Codes[static_cast<size_t>(Clamp(v, -127.0f, 113.0f) * 2.0f + 254.0f)];
  }

  static Float4 Nearest(Float4 v) {
    const Float4 place = Clamp(v, -127.0f, 113.0f) * Splat(2.0f) + Splat(254.0f);
    const Int4 i = __builtin_convertvector(place, Int4);
    return Float4{Level(i[0]), Level(i[1]), Level(i[2]), Level(i[3])};
  }

 private:
  static float Level(int32_t i) { return kIq4Levels[kIq4Codes[static_cast<size_t>(i)]]; }
};

}  // namespace octet::quant
