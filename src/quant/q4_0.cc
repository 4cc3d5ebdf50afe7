#include "quant/q4_0.h"

#include <cstring>

#include "base/f16.h"
#include "quant/encode_common.h"
#include "quant/step_search.h"

namespace octet {

void DecodeQ4_0(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ4_0::kValues, blocks += sizeof(BlockQ4_0)) {
    BlockQ4_0 b;
    std::memcpy(&b, blocks, sizeof(b));
    const float d = ToFloat(F16{b.d});
    for (int j = 0; j < 16; ++j) {
      out[i + j] = d * static_cast<float>((b.qs[j] & 15) - 8);
      out[i + j + 16] = d * static_cast<float>((b.qs[j] >> 4) - 8);
    }
  }
}

namespace {

using Levels = quant::UniformLevels<-8, 7>;
constexpr quant::StepTrials kTrials = {5.5f, 0.2f, 18};

void Store(uint16_t d, const uint8_t codes[32], std::byte* block) {
  BlockQ4_0 b;
  b.d = d;
  for (int j = 0; j < 16; ++j)
    b.qs[j] = static_cast<uint8_t>((codes[j] & 15) | (codes[j + 16] & 15) << 4);
  std::memcpy(block, &b, sizeof(b));
}

}  // namespace

void EncodeQ4_0(const float* values, int64_t n, std::byte* blocks) {
  for (int64_t i = 0; i < n; i += BlockQ4_0::kValues, blocks += sizeof(BlockQ4_0)) {
    const float* x = values + i;
    const float step = quant::Extreme(x, BlockQ4_0::kValues) / -8.0f;
    const float inverse = quant::Reciprocal(step);
    uint8_t codes[32];
    for (int j = 0; j < 32; ++j)
      codes[j] = static_cast<uint8_t>(quant::Clamp(x[j] * inverse + 8.5f, 0.0f, 15.0f));
    Store(quant::StepBits(step), codes, blocks);
  }
}

void EncodeWeightedQ4_0(const float* values, const float* importance, int64_t n,
                        std::byte* blocks) {
  for (int64_t i = 0; i < n; i += BlockQ4_0::kValues, blocks += sizeof(BlockQ4_0)) {
    const float* x = values + i;
    float w[BlockQ4_0::kValues];
    quant::GroupWeights(importance ? importance + i : nullptr, BlockQ4_0::kValues, w);
    const uint16_t d =
        quant::StepBits(quant::SearchStep<32, Levels, quant::StepStorage::kF16>(x, w, kTrials));
    const float inverse = quant::Reciprocal(ToFloat(F16{d}));
    uint8_t codes[32];
    for (int j = 0; j < 32; ++j)
      codes[j] = static_cast<uint8_t>(Levels::Nearest(x[j] * inverse) + 8.0f);
    Store(d, codes, blocks);
  }
}

}  // namespace octet
