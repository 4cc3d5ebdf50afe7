#include "quant/q2_k.h"

#include <cstring>

#include "base/f16.h"
#include "quant/affine_search.h"
#include "quant/encode_common.h"

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

constexpr int kGroups = 16, kGroup = 16, kTop = 3;
constexpr quant::AffineTrials kTrials = {2.0f, 0.2f, 9};
using Search = quant::SuperBlockAffineFit<kGroups, kGroup, kTop, 15>;

BlockQ2_K Pack(const float* x, const quant::SuperBlockAffine<kGroups>& fit) {
  BlockQ2_K b = {};
  b.d = quant::StepBits(fit.d);
  b.dmin = quant::StepBits(fit.dmin);
  for (int g = 0; g < kGroups; ++g) {
    const quant::Affine at = fit.at(g);
    const float inverse = quant::Reciprocal(at.step);
    for (int l = 0; l < kGroup; ++l) {
      const int code = static_cast<int>(
          quant::RoundNearest(quant::Clamp((x[kGroup * g + l] + at.offset) * inverse, 0.0f, kTop)));
      b.qs[32 * (g / 8) + 16 * (g % 2) + l] |= static_cast<uint8_t>(code << 2 * (g / 2 % 4));
    }
    b.scales[g] = static_cast<uint8_t>(fit.scale[g] | fit.min[g] << 4);
  }
  return b;
}

}  // namespace

void EncodeQ2_K(const float* values, int64_t n, std::byte* blocks) {
  EncodeWeightedQ2_K(values, nullptr, n, blocks);
}

void EncodeWeightedQ2_K(const float* values, const float* importance, int64_t n,
                        std::byte* blocks) {
  for (int64_t i = 0; i < n; i += BlockQ2_K::kValues, blocks += sizeof(BlockQ2_K)) {
    float w[BlockQ2_K::kValues];
    for (int g = 0; g < kGroups; ++g)
      quant::GroupWeights(importance ? importance + i + g * kGroup : nullptr, kGroup,
                          w + g * kGroup);
    const BlockQ2_K b = Pack(values + i, Search(values + i, w).Fit(kTrials));
    std::memcpy(blocks, &b, sizeof(b));
  }
}

}  // namespace octet
