#include "quant/q5_k.h"

#include <cstring>

#include "base/f16.h"
#include "quant/encode_blocks.h"
#include "quant/q4_k.h"

namespace octet {

void DecodeQ5_K(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ5_K::kValues, blocks += sizeof(BlockQ5_K)) {
    BlockQ5_K b;
    std::memcpy(&b, blocks, sizeof(b));
    uint8_t scales[8], mins[8];
    UnpackScalesQ4_K(b.scales, scales, mins);
    const float d = ToFloat(F16{b.d});
    const float dmin = ToFloat(F16{b.dmin});
    for (int g = 0; g < 8; ++g) {
      const float step = d * static_cast<float>(scales[g]);
      const float offset = dmin * static_cast<float>(mins[g]);
      const uint8_t* q = b.qs + 32 * (g / 2);
      const int shift = 4 * (g % 2);
      for (int l = 0; l < 32; ++l) {
        const int code = ((q[l] >> shift) & 15) | ((b.qh[l] >> g) & 1) << 4;
        out[i + 32 * g + l] = step * static_cast<float>(code) - offset;
      }
    }
  }
}

namespace {

constexpr int kGroups = 8, kGroup = 32, kTop = 31, kScaleTop = 63;
constexpr quant::AffineTrials kTrials = {28.5f, 0.5f, 8};

BlockQ5_K Pack(const float* x, const quant::SuperBlockAffine<kGroups>& fit) {
  BlockQ5_K b = {};
  b.d = quant::StepBits(fit.d);
  b.dmin = quant::StepBits(fit.dmin);
  PackScalesQ4_K(fit.scale, fit.min, b.scales);
  quant::ForEachCode<kGroups, kGroup, kTop>(x, fit, [&](int g, int l, int code) {
    b.qs[32 * (g / 2) + l] |= static_cast<uint8_t>((code & 15) << 4 * (g % 2));
    b.qh[l] |= static_cast<uint8_t>((code >> 4) << g);
  });
  return b;
}

}  // namespace

void EncodeQ5_K(const float* values, int64_t n, std::byte* blocks) {
  EncodeWeightedQ5_K(values, nullptr, n, blocks);
}

void EncodeWeightedQ5_K(const float* values, const float* importance, int64_t n,
                        std::byte* blocks) {
  quant::EncodeSuperBlocks<BlockQ5_K, kGroups, kGroup, kTop, kScaleTop>(values, importance, n,
                                                                        blocks, kTrials, Pack);
}

}  // namespace octet
