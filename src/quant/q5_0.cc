#include "quant/q5_0.h"

#include <cstring>

#include "base/f16.h"
#include "quant/encode_blocks.h"

namespace octet {

void DecodeQ5_0(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ5_0::kValues, blocks += sizeof(BlockQ5_0)) {
    BlockQ5_0 b;
    std::memcpy(&b, blocks, sizeof(b));
    uint32_t high;
    std::memcpy(&high, b.qh, sizeof(high));
    const float d = ToFloat(F16{b.d});
    for (int j = 0; j < 16; ++j) {
      const int low = (b.qs[j] & 15) | static_cast<int>((high >> j) & 1u) << 4;
      const int top = (b.qs[j] >> 4) | static_cast<int>((high >> (j + 16)) & 1u) << 4;
      out[i + j] = d * static_cast<float>(low - 16);
      out[i + j + 16] = d * static_cast<float>(top - 16);
    }
  }
}

namespace {

constexpr int kZero = 16;
constexpr quant::StepTrials kTrials = {13.0f, 0.25f, 16};

BlockQ5_0 Store(uint16_t d, const uint8_t codes[32]) {
  BlockQ5_0 b;
  b.d = d;
  quant::StoreFifthBits(codes, b.qh);
  quant::StoreLowBits(codes, b.qs);
  return b;
}

}  // namespace

void EncodeQ5_0(const float* values, int64_t n, std::byte* blocks) {
  quant::EncodeSteps<BlockQ5_0, kZero>(values, n, blocks, Store);
}

void EncodeWeightedQ5_0(const float* values, const float* importance, int64_t n,
                        std::byte* blocks) {
  quant::EncodeSteps<BlockQ5_0, kZero>(values, importance, n, blocks, kTrials, Store);
}

}  // namespace octet
