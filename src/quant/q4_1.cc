#include "quant/q4_1.h"

#include <algorithm>
#include <cstring>

#include "base/f16.h"
#include "quant/affine_search.h"
#include "quant/encode_common.h"

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

void Store(uint16_t d, uint16_t m, const uint8_t codes[32], std::byte* block) {
  BlockQ4_1 b;
  b.d = d;
  b.m = m;
  for (int j = 0; j < 16; ++j)
    b.qs[j] = static_cast<uint8_t>((codes[j] & 15) | (codes[j + 16] & 15) << 4);
  std::memcpy(block, &b, sizeof(b));
}

}  // namespace

void EncodeQ4_1(const float* values, int64_t n, std::byte* blocks) {
  for (int64_t i = 0; i < n; i += BlockQ4_1::kValues, blocks += sizeof(BlockQ4_1)) {
    const float* x = values + i;
    const float least = *std::min_element(x, x + BlockQ4_1::kValues);
    const float greatest = *std::max_element(x, x + BlockQ4_1::kValues);
    const float step = (greatest - least) / kTop;
    const float inverse = quant::Reciprocal(step);
    uint8_t codes[32];
    for (int j = 0; j < 32; ++j)
      codes[j] = static_cast<uint8_t>(quant::Clamp((x[j] - least) * inverse + 0.5f, 0.0f, kTop));
    Store(quant::StepBits(step), quant::StepBits(least), codes, blocks);
  }
}

void EncodeWeightedQ4_1(const float* values, const float* importance, int64_t n,
                        std::byte* blocks) {
  for (int64_t i = 0; i < n; i += BlockQ4_1::kValues, blocks += sizeof(BlockQ4_1)) {
    const float* x = values + i;
    float w[BlockQ4_1::kValues];
    quant::GroupWeights(importance ? importance + i : nullptr, BlockQ4_1::kValues, w);
    const quant::Affine fit = quant::SearchAffine<32, kTop>(x, w, kTrials, true);
    const uint16_t d = quant::StepBits(fit.step);
    const uint16_t m = quant::StepBits(-fit.offset);
    const float inverse = quant::Reciprocal(ToFloat(F16{d}));
    const float least = ToFloat(F16{m});
    uint8_t codes[32];
    for (int j = 0; j < 32; ++j)
      codes[j] = static_cast<uint8_t>(
          quant::RoundNearest(quant::Clamp((x[j] - least) * inverse, 0.0f, kTop)));
    Store(d, m, codes, blocks);
  }
}

}  // namespace octet
