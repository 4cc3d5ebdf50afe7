#include "quant/q3_k.h"

#include <cstring>

#include "base/f16.h"
#include "quant/encode_common.h"
#include "quant/step_search.h"

namespace octet {

void UnpackScalesQ3_K(const uint8_t packed[12], int8_t scales[16]) {
  for (int g = 0; g < 16; ++g) {
    const int low = g < 8 ? packed[g] & 15 : packed[g - 8] >> 4;
    const int high = (packed[8 + g % 4] >> (2 * (g / 4))) & 3;
    scales[g] = static_cast<int8_t>((low | high << 4) - 32);
  }
}

void DecodeQ3_K(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ3_K::kValues, blocks += sizeof(BlockQ3_K)) {
    BlockQ3_K b;
    std::memcpy(&b, blocks, sizeof(b));
    int8_t scales[16];
    UnpackScalesQ3_K(b.scales, scales);
    const float d = ToFloat(F16{b.d});
    for (int g = 0; g < 16; ++g) {
      const float step = d * static_cast<float>(scales[g]);
      const uint8_t* q = b.qs + 32 * (g / 8) + 16 * (g % 2);
      const uint8_t* high = b.hmask + 16 * (g % 2);
      const int shift = 2 * (g / 2 % 4);
      for (int l = 0; l < 16; ++l) {
        const int code = ((q[l] >> shift) & 3) | ((high[l] >> (g / 2)) & 1) << 2;
        out[i + 16 * g + l] = step * static_cast<float>(code - 4);
      }
    }
  }
}

namespace {

constexpr int kGroups = 16, kGroup = 16;
constexpr quant::StepTrials kTrials = {2.0f, 0.4f, 8};
using Levels = quant::UniformLevels<-4, 3>;
using Search = quant::SuperBlockStepFit<kGroups, kGroup, Levels, -32, 31>;

BlockQ3_K Pack(const float* x, const quant::SuperBlockSteps<kGroups>& fit) {
  BlockQ3_K b = {};
  b.d = quant::StepBits(fit.d);
  for (int g = 0; g < kGroups; ++g) {
    const float inverse = quant::Reciprocal(fit.step(g));
    for (int l = 0; l < kGroup; ++l) {
      const int code = static_cast<int>(Levels::Nearest(x[kGroup * g + l] * inverse)) + 4;
      const int at = 16 * (g % 2) + l;
      b.qs[32 * (g / 8) + at] |= static_cast<uint8_t>((code & 3) << 2 * (g / 2 % 4));
      b.hmask[at] |= static_cast<uint8_t>((code >> 2) << (g / 2));
    }
    const int scale = fit.scale[g] + 32;
    b.scales[g % 8] |= static_cast<uint8_t>((scale & 15) << 4 * (g / 8));
    b.scales[8 + g % 4] |= static_cast<uint8_t>((scale >> 4) << 2 * (g / 4));
  }
  return b;
}

}  // namespace

void EncodeQ3_K(const float* values, int64_t n, std::byte* blocks) {
  EncodeWeightedQ3_K(values, nullptr, n, blocks);
}

void EncodeWeightedQ3_K(const float* values, const float* importance, int64_t n,
                        std::byte* blocks) {
  for (int64_t i = 0; i < n; i += BlockQ3_K::kValues, blocks += sizeof(BlockQ3_K)) {
    float w[BlockQ3_K::kValues];
    for (int g = 0; g < kGroups; ++g)
      quant::GroupWeights(importance ? importance + i + g * kGroup : nullptr, kGroup,
                          w + g * kGroup);
    const BlockQ3_K b = Pack(values + i, Search(values + i, w).Fit(kTrials));
    std::memcpy(blocks, &b, sizeof(b));
  }
}

}  // namespace octet
