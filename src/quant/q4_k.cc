#include "quant/q4_k.h"

#include <cstring>

#include "base/f16.h"

namespace octet {

void UnpackScalesQ4_K(const uint8_t packed[12], uint8_t scales[8], uint8_t mins[8]) {
  for (int g = 0; g < 4; ++g) {
    scales[g] = packed[g] & 63;
    mins[g] = packed[g + 4] & 63;
    scales[g + 4] = static_cast<uint8_t>((packed[g + 8] & 15) | (packed[g] >> 6) << 4);
    mins[g + 4] = static_cast<uint8_t>((packed[g + 8] >> 4) | (packed[g + 4] >> 6) << 4);
  }
}

void DecodeQ4_K(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ4_K::kValues, blocks += sizeof(BlockQ4_K)) {
    BlockQ4_K b;
    std::memcpy(&b, blocks, sizeof(b));
    uint8_t scales[8], mins[8];
    UnpackScalesQ4_K(b.scales, scales, mins);
    const float d = ToFloat(F16{b.d});
    const float dmin = ToFloat(F16{b.dmin});
    for (int g = 0; g < 8; ++g) {
      const float step = d * static_cast<float>(scales[g]);
      const float offset = dmin * static_cast<float>(mins[g]);
      const uint8_t* q = b.qs + 32 * (g / 2);
      const int shift = 4 * (g % 2);
      for (int l = 0; l < 32; ++l)
        out[i + 32 * g + l] = step * static_cast<float>((q[l] >> shift) & 15) - offset;
    }
  }
}

}  // namespace octet
