#include "quant/q8_0.h"

#include <cstring>

#include "base/f16.h"

namespace octet {

void DecodeQ8_0(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ8_0::kValues, blocks += sizeof(BlockQ8_0)) {
    BlockQ8_0 b;
    std::memcpy(&b, blocks, sizeof(b));
    const float d = ToFloat(F16{b.d});
    for (int j = 0; j < 32; ++j) out[i + j] = d * static_cast<float>(b.qs[j]);
  }
}

}  // namespace octet
