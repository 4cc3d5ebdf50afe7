#include "quant/iq4_xs.h"

#include <cstring>

#include "base/f16.h"
#include "quant/encode_common.h"
#include "quant/iq4_levels.h"
#include "quant/iq4_nl.h"
#include "quant/step_search.h"

namespace octet {

void UnpackScalesIq4_Xs(const BlockIq4_Xs& block, int8_t scales[8]) {
  for (int g = 0; g < 8; ++g) {
    const int low = (block.scales_l[g / 2] >> (4 * (g % 2))) & 15;
    const int high = (block.scales_h >> (2 * g)) & 3;
    scales[g] = static_cast<int8_t>((low | high << 4) - 32);
  }
}

void DecodeIq4_Xs(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockIq4_Xs::kValues, blocks += sizeof(BlockIq4_Xs)) {
    BlockIq4_Xs b;
    std::memcpy(&b, blocks, sizeof(b));
    int8_t scales[8];
    UnpackScalesIq4_Xs(b, scales);
    const float d = ToFloat(F16{b.d});
    for (int g = 0; g < 8; ++g) {
      const float step = d * static_cast<float>(scales[g]);
      for (int j = 0; j < 16; ++j) {
        const uint8_t byte = b.qs[16 * g + j];
        out[i + 32 * g + j] = step * static_cast<float>(kIq4Levels[byte & 15]);
        out[i + 32 * g + j + 16] = step * static_cast<float>(kIq4Levels[byte >> 4]);
      }
    }
  }
}

namespace {

constexpr int kGroups = 8, kGroup = 32;
constexpr quant::StepTrials kTrials = {90.0f, 6.0f, 8};
using Levels = quant::Iq4Levels;
using Search = quant::SuperBlockStepFit<kGroups, kGroup, Levels, -32, 31>;

BlockIq4_Xs Pack(const float* x, const quant::SuperBlockSteps<kGroups>& fit) {
  BlockIq4_Xs b = {};
  b.d = quant::StepBits(fit.d);
  for (int g = 0; g < kGroups; ++g) {
    const float inverse = quant::Reciprocal(fit.step(g));
    const float* group = x + kGroup * g;
    for (int j = 0; j < 16; ++j)
      b.qs[16 * g + j] = static_cast<uint8_t>(Levels::NearestCode(group[j] * inverse) |
                                              Levels::NearestCode(group[j + 16] * inverse) << 4);
    const int scale = fit.scale[g] + 32;
    b.scales_l[g / 2] |= static_cast<uint8_t>((scale & 15) << 4 * (g % 2));
    b.scales_h |= static_cast<uint16_t>((scale >> 4) << 2 * g);
  }
  return b;
}

}  // namespace

void EncodeIq4_Xs(const float* values, int64_t n, std::byte* blocks) {
  EncodeWeightedIq4_Xs(values, nullptr, n, blocks);
}

void EncodeWeightedIq4_Xs(const float* values, const float* importance, int64_t n,
                          std::byte* blocks) {
  for (int64_t i = 0; i < n; i += BlockIq4_Xs::kValues, blocks += sizeof(BlockIq4_Xs)) {
    float w[BlockIq4_Xs::kValues];
    for (int g = 0; g < kGroups; ++g)
      quant::GroupWeights(importance ? importance + i + g * kGroup : nullptr, kGroup,
                          w + g * kGroup);
    const BlockIq4_Xs b = Pack(values + i, Search(values + i, w).Fit(kTrials));
    std::memcpy(blocks, &b, sizeof(b));
  }
}

}  // namespace octet
