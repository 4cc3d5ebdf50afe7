#include "quant/iq4_xs.h"

#include <cstring>

#include "base/f16.h"
#include "quant/iq4_nl.h"

namespace octet {

void DecodeIq4_Xs(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockIq4_Xs::kValues, blocks += sizeof(BlockIq4_Xs)) {
    BlockIq4_Xs b;
    std::memcpy(&b, blocks, sizeof(b));
    const float d = ToFloat(F16{b.d});
    for (int g = 0; g < 8; ++g) {
      const int low = (b.scales_l[g / 2] >> (4 * (g % 2))) & 15;
      const int high = (b.scales_h >> (2 * g)) & 3;
      const float step = d * static_cast<float>((low | high << 4) - 32);
      for (int j = 0; j < 16; ++j) {
        const uint8_t byte = b.qs[16 * g + j];
        out[i + 32 * g + j] = step * static_cast<float>(kIq4Levels[byte & 15]);
        out[i + 32 * g + j + 16] = step * static_cast<float>(kIq4Levels[byte >> 4]);
      }
    }
  }
}

}  // namespace octet
