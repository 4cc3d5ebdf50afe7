#include "quant/q5_0.h"

#include <cstring>

#include "base/f16.h"
#include "quant/encode_common.h"
#include "quant/step_search.h"

namespace octet {

void DecodeQ5_0(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ5_0::kValues, blocks += sizeof(BlockQ5_0)) {
    BlockQ5_0 b;
    std::memcpy(&b, blocks, sizeof(b));
    uint32_t high;
    std::memcpy(&high, b.qh, sizeof(high));
    const float d = ToFloat(F16{b.d});
    for (int j = 0; j < 16; ++j) {
      const int low = (b.qs[j] & 15) | static_cast<int>((high >> j) & 1u) << 4;
      const int top = (b.qs[j] >> 4) | static_cast<int>((high >> (j + 16)) & 1u) << 4;
      out[i + j] = d * static_cast<float>(low - 16);
      out[i + j + 16] = d * static_cast<float>(top - 16);
    }
  }
}

namespace {

using Levels = quant::UniformLevels<-16, 15>;
constexpr quant::StepTrials kTrials = {13.0f, 0.25f, 16};

void Store(uint16_t d, const uint8_t codes[32], std::byte* block) {
  BlockQ5_0 b;
  b.d = d;
  uint32_t high = 0;
  for (int j = 0; j < 32; ++j) high |= static_cast<uint32_t>(codes[j] >> 4) << j;
  std::memcpy(b.qh, &high, sizeof(high));
  for (int j = 0; j < 16; ++j)
    b.qs[j] = static_cast<uint8_t>((codes[j] & 15) | (codes[j + 16] & 15) << 4);
  std::memcpy(block, &b, sizeof(b));
}

}  // namespace

void EncodeQ5_0(const float* values, int64_t n, std::byte* blocks) {
  for (int64_t i = 0; i < n; i += BlockQ5_0::kValues, blocks += sizeof(BlockQ5_0)) {
    const float* x = values + i;
    const float step = quant::Extreme(x, BlockQ5_0::kValues) / -16.0f;
    const float inverse = quant::Reciprocal(step);
    uint8_t codes[32];
    for (int j = 0; j < 32; ++j)
      codes[j] = static_cast<uint8_t>(quant::Clamp(x[j] * inverse + 16.5f, 0.0f, 31.0f));
    Store(quant::StepBits(step), codes, blocks);
  }
}

void EncodeWeightedQ5_0(const float* values, const float* importance, int64_t n,
                        std::byte* blocks) {
  for (int64_t i = 0; i < n; i += BlockQ5_0::kValues, blocks += sizeof(BlockQ5_0)) {
    const float* x = values + i;
    float w[BlockQ5_0::kValues];
    quant::GroupWeights(importance ? importance + i : nullptr, BlockQ5_0::kValues, w);
    const uint16_t d =
        quant::StepBits(quant::SearchStep<32, Levels, quant::StepStorage::kF16>(x, w, kTrials));
    const float inverse = quant::Reciprocal(ToFloat(F16{d}));
    uint8_t codes[32];
    for (int j = 0; j < 32; ++j)
      codes[j] = static_cast<uint8_t>(Levels::Nearest(x[j] * inverse) + 16.0f);
    Store(d, codes, blocks);
  }
}

}  // namespace octet
