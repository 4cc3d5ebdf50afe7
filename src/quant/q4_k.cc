#include "quant/q4_k.h"

#include <cstring>

#include "base/f16.h"
#include "quant/encode_blocks.h"

namespace octet {

void UnpackScalesQ4_K(const uint8_t packed[12], uint8_t scales[8], uint8_t mins[8]) {
  for (int g = 0; g < 4; ++g) {
    scales[g] = packed[g] & 63;
    mins[g] = packed[g + 4] & 63;
    scales[g + 4] = static_cast<uint8_t>((packed[g + 8] & 15) | (packed[g] >> 6) << 4);
    mins[g + 4] = static_cast<uint8_t>((packed[g + 8] >> 4) | (packed[g + 4] >> 6) << 4);
  }
}

void PackScalesQ4_K(const int scales[8], const int mins[8], uint8_t packed[12]) {
  for (int g = 0; g < 4; ++g) {
    packed[g] = static_cast<uint8_t>(scales[g] | (scales[g + 4] >> 4) << 6);
    packed[g + 4] = static_cast<uint8_t>(mins[g] | (mins[g + 4] >> 4) << 6);
    packed[g + 8] = static_cast<uint8_t>((scales[g + 4] & 15) | (mins[g + 4] & 15) << 4);
  }
}

void DecodeQ4_K(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ4_K::kValues, blocks += sizeof(BlockQ4_K)) {
    BlockQ4_K b;
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
      for (int l = 0; l < 32; ++l)
        out[i + 32 * g + l] = step * static_cast<float>((q[l] >> shift) & 15) - offset;
    }
  }
}

namespace {

constexpr int kGroups = 8, kGroup = 32, kTop = 15, kScaleTop = 63;
constexpr quant::AffineTrials kTrials = {12.5f, 0.5f, 8};

BlockQ4_K Pack(const float* x, const quant::SuperBlockAffine<kGroups>& fit) {
  BlockQ4_K b = {};
  b.d = quant::StepBits(fit.d);
  b.dmin = quant::StepBits(fit.dmin);
  PackScalesQ4_K(fit.scale, fit.min, b.scales);
  quant::ForEachCode<kGroups, kGroup, kTop>(x, fit, [&](int g, int l, int code) {
    b.qs[32 * (g / 2) + l] |= static_cast<uint8_t>(code << 4 * (g % 2));
  });
  return b;
}

}  // namespace

void EncodeQ4_K(const float* values, int64_t n, std::byte* blocks) {
  EncodeWeightedQ4_K(values, nullptr, n, blocks);
}

void EncodeWeightedQ4_K(const float* values, const float* importance, int64_t n,
                        std::byte* blocks) {
  quant::EncodeSuperBlocks<BlockQ4_K, kGroups, kGroup, kTop, kScaleTop>(values, importance, n,
                                                                        blocks, kTrials, Pack);
}

}  // namespace octet
