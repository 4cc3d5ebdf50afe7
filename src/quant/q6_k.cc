#include "quant/q6_k.h"

#include <cstring>

#include "base/f16.h"

namespace octet {

void DecodeQ6_K(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ6_K::kValues, blocks += sizeof(BlockQ6_K)) {
    BlockQ6_K b;
    std::memcpy(&b, blocks, sizeof(b));
    const float d = ToFloat(F16{b.d});
    for (int g = 0; g < 16; ++g) {
      const float step = d * static_cast<float>(b.scales[g]);
      const int run = g / 2 % 4;
      const uint8_t* low = b.ql + 64 * (g / 8) + 32 * (run % 2) + 16 * (g % 2);
      const uint8_t* high = b.qh + 32 * (g / 8) + 16 * (g % 2);
      const int low_shift = 4 * (run / 2);
      const int high_shift = 2 * run;
      for (int l = 0; l < 16; ++l) {
        const int code = ((low[l] >> low_shift) & 15) | ((high[l] >> high_shift) & 3) << 4;
        out[i + 16 * g + l] = step * static_cast<float>(code - 32);
      }
    }
  }
}

}  // namespace octet
