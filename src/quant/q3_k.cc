#include "quant/q3_k.h"

#include <cstring>

#include "base/f16.h"

namespace octet {

void UnpackScalesQ3_K(const uint8_t packed[12], int8_t scales[16]) {
  for (int g = 0; g < 16; ++g) {
    const int low = g < 8 ? packed[g] & 15 : packed[g - 8] >> 4;
    const int high = (packed[8 + g % 4] >> (2 * (g / 4))) & 3;
    scales[g] = static_cast<int8_t>((low | high << 4) - 32);
  }
}

void DecodeQ3_K(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ3_K::kValues, blocks += sizeof(BlockQ3_K)) {
    BlockQ3_K b;
    std::memcpy(&b, blocks, sizeof(b));
    int8_t scales[16];
    UnpackScalesQ3_K(b.scales, scales);
    const float d = ToFloat(F16{b.d});
    for (int g = 0; g < 16; ++g) {
      const float step = d * static_cast<float>(scales[g]);
      const uint8_t* q = b.qs + 32 * (g / 8) + 16 * (g % 2);
      const uint8_t* high = b.hmask + 16 * (g % 2);
      const int shift = 2 * (g / 2 % 4);
      for (int l = 0; l < 16; ++l) {
        const int code = ((q[l] >> shift) & 3) | ((high[l] >> (g / 2)) & 1) << 2;
        out[i + 16 * g + l] = step * static_cast<float>(code - 4);
      }
    }
  }
}

}  // namespace octet
