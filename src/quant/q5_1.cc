#include "quant/q5_1.h"

#include <cstring>

#include "base/f16.h"
#include "quant/encode_blocks.h"

namespace octet {

void DecodeQ5_1(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ5_1::kValues, blocks += sizeof(BlockQ5_1)) {
    BlockQ5_1 b;
    std::memcpy(&b, blocks, sizeof(b));
    uint32_t high;
    std::memcpy(&high, b.qh, sizeof(high));
    const float d = ToFloat(F16{b.d});
    const float m = ToFloat(F16{b.m});
    for (int j = 0; j < 16; ++j) {
      const int low = (b.qs[j] & 15) | static_cast<int>((high >> j) & 1u) << 4;
      const int top = (b.qs[j] >> 4) | static_cast<int>((high >> (j + 16)) & 1u) << 4;
      out[i + j] = d * static_cast<float>(low) + m;
      out[i + j + 16] = d * static_cast<float>(top) + m;
    }
  }
}

namespace {

constexpr int kTop = 31;
constexpr quant::AffineTrials kTrials = {27.0f, 0.25f, 20};

BlockQ5_1 Store(uint16_t d, uint16_t m, const uint8_t codes[32]) {
  BlockQ5_1 b;
  b.d = d;
  b.m = m;
  quant::StoreFifthBits(codes, b.qh);
  quant::StoreLowBits(codes, b.qs);
  return b;
}

}  // namespace

void EncodeQ5_1(const float* values, int64_t n, std::byte* blocks) {
  quant::EncodeAffine<BlockQ5_1, kTop>(values, n, blocks, Store);
}

void EncodeWeightedQ5_1(const float* values, const float* importance, int64_t n,
                        std::byte* blocks) {
  quant::EncodeAffine<BlockQ5_1, kTop>(values, importance, n, blocks, kTrials, Store);
}

}  // namespace octet
