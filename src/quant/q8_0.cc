#include "quant/q8_0.h"

#include <cmath>
#include <cstring>

#include "base/f16.h"
#include "quant/encode_common.h"
#include "quant/step_search.h"

namespace octet {

void DecodeQ8_0(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockQ8_0::kValues, blocks += sizeof(BlockQ8_0)) {
    BlockQ8_0 b;
    std::memcpy(&b, blocks, sizeof(b));
    const float d = ToFloat(F16{b.d});
    for (int j = 0; j < 32; ++j) out[i + j] = d * static_cast<float>(b.qs[j]);
  }
}

namespace {

using Levels = quant::UniformLevels<-127, 127>;
constexpr quant::StepTrials kTrials = {126.5f, 0.125f, 9};

/// Ties away from zero, as C's roundf, which does not vectorise.
float RoundAway(float v) {
  const float even = quant::RoundNearest(v);
  const float rest = v - even;
  return even + (rest == 0.5f && v > 0.0f ? 1.0f : 0.0f) -
         (rest == -0.5f && v < 0.0f ? 1.0f : 0.0f);
}

}  // namespace

void EncodeQ8_0(const float* values, int64_t n, std::byte* blocks) {
  for (int64_t i = 0; i < n; i += BlockQ8_0::kValues, blocks += sizeof(BlockQ8_0)) {
    const float* x = values + i;
    const float step = std::fabs(quant::Extreme(x, BlockQ8_0::kValues)) / 127.0f;
    const float inverse = quant::Reciprocal(step);
    BlockQ8_0 b;
    b.d = quant::StepBits(step);
    for (int j = 0; j < 32; ++j)
      b.qs[j] = static_cast<int8_t>(RoundAway(quant::Clamp(x[j] * inverse, -127.0f, 127.0f)));
    std::memcpy(blocks, &b, sizeof(b));
  }
}

void EncodeWeightedQ8_0(const float* values, const float* importance, int64_t n,
                        std::byte* blocks) {
  for (int64_t i = 0; i < n; i += BlockQ8_0::kValues, blocks += sizeof(BlockQ8_0)) {
    const float* x = values + i;
    float w[BlockQ8_0::kValues];
    quant::GroupWeights(importance ? importance + i : nullptr, BlockQ8_0::kValues, w);
    BlockQ8_0 b;
    b.d = quant::StepBits(quant::SearchStep<32, Levels, quant::StepStorage::kF16>(x, w, kTrials));
    const float inverse = quant::Reciprocal(ToFloat(F16{b.d}));
    for (int j = 0; j < 32; ++j) b.qs[j] = static_cast<int8_t>(Levels::Nearest(x[j] * inverse));
    std::memcpy(blocks, &b, sizeof(b));
  }
}

}  // namespace octet
