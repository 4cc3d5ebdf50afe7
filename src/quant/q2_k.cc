#include "quant/q2_k.h"

#include <cstring>

#include "base/f16.h"
#include "quant/encode_blocks.h"

namespace octet {

void DecodeQ2_K(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ2_K::kValues, blocks += sizeof(BlockQ2_K)) {
    BlockQ2_K b;
    std::memcpy(&b, blocks, sizeof(b));
    const float d = ToFloat(F16{b.d});
    const float dmin = ToFloat(F16{b.dmin});
    for (int g = 0; g < 16; ++g) {
      const float step = d * static_cast<float>(b.scales[g] & 15);
      const float offset = dmin * static_cast<float>(b.scales[g] >> 4);
      const uint8_t* q = b.qs + 32 * (g / 8) + 16 * (g % 2);
      const int shift = 2 * (g / 2 % 4);
      for (int l = 0; l < 16; ++l)
        out[i + 16 * g + l] = step * static_cast<float>((q[l] >> shift) & 3) - offset;
    }
  }
}

namespace {

constexpr int kGroups = 16, kGroup = 16, kTop = 3, kScaleTop = 15;
constexpr quant::AffineTrials kTrials = {2.0f, 0.2f, 9};

BlockQ2_K Pack(const float* x, const quant::SuperBlockAffine<kGroups>& fit) {
  BlockQ2_K b = {};
  b.d = quant::StepBits(fit.d);
  b.dmin = quant::StepBits(fit.dmin);
  for (int g = 0; g < kGroups; ++g)
    b.scales[g] = static_cast<uint8_t>(fit.scale[g] | fit.min[g] << 4);
  quant::ForEachCode<kGroups, kGroup, kTop>(x, fit, [&](int g, int l, int code) {
    b.qs[32 * (g / 8) + 16 * (g % 2) + l] |= static_cast<uint8_t>(code << 2 * (g / 2 % 4));
  });
  return b;
}

}  // namespace

void EncodeQ2_K(const float* values, int64_t n, std::byte* blocks) {
  EncodeWeightedQ2_K(values, nullptr, n, blocks);
}

void EncodeWeightedQ2_K(const float* values, const float* importance, int64_t n,
                        std::byte* blocks) {
  quant::EncodeSuperBlocks<BlockQ2_K, kGroups, kGroup, kTop, kScaleTop>(values, importance, n,
                                                                        blocks, kTrials, Pack);
}

}  // namespace octet
