#include "quant/q4_0.h"

#include <cstring>

#include "base/f16.h"

namespace octet {

void DecodeQ4_0(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ4_0::kValues, blocks += sizeof(BlockQ4_0)) {
    BlockQ4_0 b;
    std::memcpy(&b, blocks, sizeof(b));
    const float d = ToFloat(F16{b.d});
    for (int j = 0; j < 16; ++j) {
      out[i + j] = d * static_cast<float>((b.qs[j] & 15) - 8);
      out[i + j + 16] = d * static_cast<float>((b.qs[j] >> 4) - 8);
    }
  }
}

}  // namespace octet
