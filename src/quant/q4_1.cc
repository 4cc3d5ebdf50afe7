#include "quant/q4_1.h"

#include <cstring>

#include "base/f16.h"

namespace octet {

void DecodeQ4_1(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ4_1::kValues, blocks += sizeof(BlockQ4_1)) {
    BlockQ4_1 b;
    std::memcpy(&b, blocks, sizeof(b));
    const float d = ToFloat(F16{b.d});
    const float m = ToFloat(F16{b.m});
    for (int j = 0; j < 16; ++j) {
      out[i + j] = d * static_cast<float>(b.qs[j] & 15) + m;
      out[i + j + 16] = d * static_cast<float>(b.qs[j] >> 4) + m;
    }
  }
}

}  // namespace octet
