#include "quant/q4_1.h"

#include <cstring>

#include "base/f16.h"
#include "quant/encode_blocks.h"

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

namespace {

constexpr int kTop = 15;
constexpr quant::AffineTrials kTrials = {11.0f, 0.25f, 20};

BlockQ4_1 Store(uint16_t d, uint16_t m, const uint8_t codes[32]) {
  BlockQ4_1 b;
  b.d = d;
  b.m = m;
  quant::StoreLowBits(codes, b.qs);
  return b;
}

}  // namespace

void EncodeQ4_1(const float* values, int64_t n, std::byte* blocks) {
  quant::EncodeAffine<BlockQ4_1, kTop>(values, n, blocks, Store);
}

void EncodeWeightedQ4_1(const float* values, const float* importance, int64_t n,
                        std::byte* blocks) {
  quant::EncodeAffine<BlockQ4_1, kTop>(values, importance, n, blocks, kTrials, Store);
}

}  // namespace octet
