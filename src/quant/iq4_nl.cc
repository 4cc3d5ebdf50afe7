#include "quant/iq4_nl.h"

#include <cstring>

#include "base/f16.h"
#include "quant/encode_common.h"
#include "quant/iq4_levels.h"
#include "quant/step_search.h"

namespace octet {

void DecodeIq4_Nl(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += BlockIq4_Nl::kValues, blocks += sizeof(BlockIq4_Nl)) {
    BlockIq4_Nl b;
    std::memcpy(&b, blocks, sizeof(b));
    const float d = ToFloat(F16{b.d});
    for (int j = 0; j < 16; ++j) {
      out[i + j] = d * static_cast<float>(kIq4Levels[b.qs[j] & 15]);
      out[i + j + 16] = d * static_cast<float>(kIq4Levels[b.qs[j] >> 4]);
    }
  }
}

namespace {

constexpr quant::StepTrials kTrials = {90.0f, 3.0f, 16};

}  // namespace

void EncodeIq4_Nl(const float* values, int64_t n, std::byte* blocks) {
  EncodeWeightedIq4_Nl(values, nullptr, n, blocks);
}

void EncodeWeightedIq4_Nl(const float* values, const float* importance, int64_t n,
                          std::byte* blocks) {
  for (int64_t i = 0; i < n; i += BlockIq4_Nl::kValues, blocks += sizeof(BlockIq4_Nl)) {
    const float* x = values + i;
    float w[BlockIq4_Nl::kValues];
    quant::GroupWeights(importance ? importance + i : nullptr, BlockIq4_Nl::kValues, w);
    BlockIq4_Nl b;
    b.d = quant::StepBits(
        quant::SearchStep<32, quant::Iq4Levels, quant::StepStorage::kF16>(x, w, kTrials));
    const float inverse = quant::Reciprocal(ToFloat(F16{b.d}));
    for (int j = 0; j < 16; ++j)
      b.qs[j] = static_cast<uint8_t>(quant::Iq4Levels::NearestCode(x[j] * inverse) |
                                     quant::Iq4Levels::NearestCode(x[j + 16] * inverse) << 4);
    std::memcpy(blocks, &b, sizeof(b));
  }
}

}  // namespace octet
