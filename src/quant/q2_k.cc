#include "quant/q2_k.h"

#include <cstring>

#include "base/f16.h"

namespace octet {

void DecodeQ2_K(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ2_K::kValues, blocks += sizeof(BlockQ2_K)) {
    BlockQ2_K b;
    std::memcpy(&b, blocks, sizeof(b));
    const float d = ToFloat(F16{b.d});
    const float dmin = ToFloat(F16{b.dmin});
    for (int g = 0; g < 16; ++g) {
      const float step = d * static_cast<float>(b.scales[g] & 15);
      const float offset = dmin * static_cast<float>(b.scales[g] >> 4);
      const uint8_t* q = b.qs + 32 * (g / 8) + 16 * (g % 2);
      const int shift = 2 * (g / 2 % 4);
      for (int l = 0; l < 16; ++l)
        out[i + 16 * g + l] = step * static_cast<float>((q[l] >> shift) & 3) - offset;
    }
  }
}

}  // namespace octet
