#include "quant/q6_k.h"

#include <cstring>

#include "base/f16.h"
#include "quant/encode_common.h"
#include "quant/step_search.h"

namespace octet {

void DecodeQ6_K(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ6_K::kValues, blocks += sizeof(BlockQ6_K)) {
    BlockQ6_K b;
    std::memcpy(&b, blocks, sizeof(b));
    const float d = ToFloat(F16{b.d});
    for (int g = 0; g < 16; ++g) {
      const float step = d * static_cast<float>(b.scales[g]);
      const int run = g / 2 % 4;
      const uint8_t* low = b.ql + 64 * (g / 8) + 32 * (run % 2) + 16 * (g % 2);
      const uint8_t* high = b.qh + 32 * (g / 8) + 16 * (g % 2);
      const int low_shift = 4 * (run / 2);
      const int high_shift = 2 * run;
      for (int l = 0; l < 16; ++l) {
        const int code = ((low[l] >> low_shift) & 15) | ((high[l] >> high_shift) & 3) << 4;
        out[i + 16 * g + l] = step * static_cast<float>(code - 32);
      }
    }
  }
}

namespace {

constexpr int kGroups = 16, kGroup = 16;
constexpr quant::StepTrials kTrials = {29.0f, 0.5f, 8};
using Levels = quant::UniformLevels<-32, 31>;
using Search = quant::SuperBlockStepFit<kGroups, kGroup, Levels, -128, 127>;

BlockQ6_K Pack(const float* x, const quant::SuperBlockSteps<kGroups>& fit) {
  BlockQ6_K b = {};
  b.d = quant::StepBits(fit.d);
  for (int g = 0; g < kGroups; ++g) {
    const float inverse = quant::Reciprocal(fit.step(g));
    for (int l = 0; l < kGroup; ++l) {
      const int code = static_cast<int>(Levels::Nearest(x[kGroup * g + l] * inverse)) + 32;
      const int at = 16 * (g % 2) + l;
      const int run = g / 2 % 4;
      b.ql[64 * (g / 8) + 32 * (run % 2) + at] |=
          static_cast<uint8_t>((code & 15) << 4 * (run / 2));
      b.qh[32 * (g / 8) + at] |= static_cast<uint8_t>((code >> 4) << 2 * run);
    }
    b.scales[g] = static_cast<int8_t>(fit.scale[g]);
  }
  return b;
}

}  // namespace

void EncodeQ6_K(const float* values, int64_t n, std::byte* blocks) {
  EncodeWeightedQ6_K(values, nullptr, n, blocks);
}

void EncodeWeightedQ6_K(const float* values, const float* importance, int64_t n,
                        std::byte* blocks) {
  for (int64_t i = 0; i < n; i += BlockQ6_K::kValues, blocks += sizeof(BlockQ6_K)) {
    float w[BlockQ6_K::kValues];
    for (int g = 0; g < kGroups; ++g)
      quant::GroupWeights(importance ? importance + i + g * kGroup : nullptr, kGroup,
                          w + g * kGroup);
    const BlockQ6_K b = Pack(values + i, Search(values + i, w).Fit(kTrials));
    std::memcpy(blocks, &b, sizeof(b));
  }
}

}  // namespace octet
