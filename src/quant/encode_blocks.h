// How the encoders of blocks walk over a row: what Q4_0 and Q5_0, Q4_1 and Q5_1, and the
// super-blocks with scales and minima have in common. A format adds how its codes lie in a block.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "quant/affine_search.h"
#include "quant/encode_common.h"
#include "quant/step_search.h"

namespace octet::quant {

constexpr int kBlock32 = 32;

/// The low four bits of 32 codes: code j beside code j + 16 in a byte.
inline void StoreLowBits(const uint8_t codes[kBlock32], uint8_t nibbles[16]) {
  for (int j = 0; j < 16; ++j)
    nibbles[j] = static_cast<uint8_t>((codes[j] & 15) | (codes[j + 16] & 15) << 4);
}

/// The fifth bits of 32 codes, code j as bit j of a little-endian word.
inline void StoreFifthBits(const uint8_t codes[kBlock32], uint8_t bits[4]) {
  uint32_t high = 0;
  for (int j = 0; j < kBlock32; ++j) high |= static_cast<uint32_t>(codes[j] >> 4) << j;
  std::memcpy(bits, &high, sizeof(high));
}

/// Blocks of 32 values with a step, value ≈ d · (code − Zero), codes in 0..2·Zero−1, without a
/// search: the value of greatest magnitude becomes −Zero. `store` makes a Block of (bits of d,
/// codes).
template <class Block, int Zero, class Store>
void EncodeSteps(const float* values, int64_t n, std::byte* blocks, Store store) {
  for (int64_t i = 0; i < n; i += kBlock32, blocks += sizeof(Block)) {
    const float* x = values + i;
    const float step = Extreme(x, kBlock32) / static_cast<float>(-Zero);
    const float inverse = Reciprocal(step);
    uint8_t codes[kBlock32];
    for (int j = 0; j < kBlock32; ++j)
      codes[j] = static_cast<uint8_t>(
          Clamp(x[j] * inverse + (static_cast<float>(Zero) + 0.5f), 0.0f, 2 * Zero - 1));
    const Block block = store(StepBits(step), codes);
    std::memcpy(blocks, &block, sizeof(block));
  }
}

/// The same with the step of least squared error, weighted by `importance` (may be null).
template <class Block, int Zero, class Store>
void EncodeSteps(const float* values, const float* importance, int64_t n, std::byte* blocks,
                 const StepTrials& trials, Store store) {
  using Levels = UniformLevels<-Zero, Zero - 1>;
  for (int64_t i = 0; i < n; i += kBlock32, blocks += sizeof(Block)) {
    const float* x = values + i;
    float w[kBlock32];
    GroupWeights(importance ? importance + i : nullptr, kBlock32, w);
    const uint16_t d = StepBits(SearchStep<kBlock32, Levels, StepStorage::kF16>(x, w, trials));
    const float inverse = Reciprocal(ToFloat(F16{d}));
    uint8_t codes[kBlock32];
    for (int j = 0; j < kBlock32; ++j)
      codes[j] = static_cast<uint8_t>(Levels::Nearest(x[j] * inverse) + static_cast<float>(Zero));
    const Block block = store(d, codes);
    std::memcpy(blocks, &block, sizeof(block));
  }
}

/// Blocks of 32 values with a step and a least value, value ≈ d · code + m, codes in 0..Top,
/// without a search. `store` makes a Block of (bits of d, bits of m, codes).
template <class Block, int Top, class Store>
void EncodeAffine(const float* values, int64_t n, std::byte* blocks, Store store) {
  for (int64_t i = 0; i < n; i += kBlock32, blocks += sizeof(Block)) {
    const float* x = values + i;
    const float least = *std::min_element(x, x + kBlock32);
    const float greatest = *std::max_element(x, x + kBlock32);
    const float step = (greatest - least) / Top;
    const float inverse = Reciprocal(step);
    uint8_t codes[kBlock32];
    for (int j = 0; j < kBlock32; ++j)
      codes[j] = static_cast<uint8_t>(Clamp((x[j] - least) * inverse + 0.5f, 0.0f, Top));
    const Block block = store(StepBits(step), StepBits(least), codes);
    std::memcpy(blocks, &block, sizeof(block));
  }
}

/// The same with the pair of least squared error, weighted by `importance` (may be null).
template <class Block, int Top, class Store>
void EncodeAffine(const float* values, const float* importance, int64_t n, std::byte* blocks,
                  const AffineTrials& trials, Store store) {
  for (int64_t i = 0; i < n; i += kBlock32, blocks += sizeof(Block)) {
    const float* x = values + i;
    float w[kBlock32];
    GroupWeights(importance ? importance + i : nullptr, kBlock32, w);
    const Affine fit = SearchAffine<kBlock32, Top>(x, w, trials, true);
    const uint16_t d = StepBits(fit.step);
    const uint16_t m = StepBits(-fit.offset);
    const float inverse = Reciprocal(ToFloat(F16{d}));
    const float least = ToFloat(F16{m});
    uint8_t codes[kBlock32];
    for (int j = 0; j < kBlock32; ++j)
      codes[j] = static_cast<uint8_t>(RoundNearest(Clamp((x[j] - least) * inverse, 0.0f, Top)));
    const Block block = store(d, m, codes);
    std::memcpy(blocks, &block, sizeof(block));
  }
}

/// Super-blocks of Groups × Group values, each group with a scale and a minimum of ScaleTop + 1
/// steps. `pack` makes a Block of (values, fit).
template <class Block, int Groups, int Group, int Top, int ScaleTop, class Pack>
void EncodeSuperBlocks(const float* values, const float* importance, int64_t n, std::byte* blocks,
                       const AffineTrials& trials, Pack pack) {
  constexpr int kValues = Groups * Group;
  for (int64_t i = 0; i < n; i += kValues, blocks += sizeof(Block)) {
    float w[kValues];
    for (int g = 0; g < Groups; ++g)
      GroupWeights(importance ? importance + i + g * Group : nullptr, Group, w + g * Group);
    using Search = SuperBlockAffineFit<Groups, Group, Top, ScaleTop>;
    const Block block = pack(values + i, Search(values + i, w).Fit(trials));
    std::memcpy(blocks, &block, sizeof(block));
  }
}

/// Calls store(group, place in it, code) for the nearest codes of a fitted super-block.
template <int Groups, int Group, int Top, class StoreCode>
void ForEachCode(const float* x, const SuperBlockAffine<Groups>& fit, StoreCode store) {
  for (int g = 0; g < Groups; ++g) {
    const Affine at = fit.at(g);
    const float inverse = Reciprocal(at.step);
    for (int l = 0; l < Group; ++l)
      store(g, l,
            static_cast<int>(
                RoundNearest(Clamp((x[Group * g + l] + at.offset) * inverse, 0.0f, Top))));
  }
}

}  // namespace octet::quant
