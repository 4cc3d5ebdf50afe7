#include "quant/iq4_nl.h"

#include <cstring>

#include "base/f16.h"

namespace octet {

void DecodeIq4_Nl(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockIq4_Nl::kValues, blocks += sizeof(BlockIq4_Nl)) {
    BlockIq4_Nl b;
    std::memcpy(&b, blocks, sizeof(b));
    const float d = ToFloat(F16{b.d});
    for (int j = 0; j < 16; ++j) {
      out[i + j] = d * static_cast<float>(kIq4Levels[b.qs[j] & 15]);
      out[i + j + 16] = d * static_cast<float>(kIq4Levels[b.qs[j] >> 4]);
    }
  }
}

}  // namespace octet
