#include "quant/q4_0.h"

#include <cstring>

#include "base/f16.h"
#include "quant/encode_blocks.h"

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

namespace {

constexpr int kZero = 8;
constexpr quant::StepTrials kTrials = {5.5f, 0.2f, 18};

BlockQ4_0 Store(uint16_t d, const uint8_t codes[32]) {
  BlockQ4_0 b;
  b.d = d;
  quant::StoreLowBits(codes, b.qs);
  return b;
}

}  // namespace

void EncodeQ4_0(const float* values, int64_t n, std::byte* blocks) {
  quant::EncodeSteps<BlockQ4_0, kZero>(values, n, blocks, Store);
}

void EncodeWeightedQ4_0(const float* values, const float* importance, int64_t n,
                        std::byte* blocks) {
  quant::EncodeSteps<BlockQ4_0, kZero>(values, importance, n, blocks, kTrials, Store);
}

}  // namespace octet
