#include "sample/dense.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <iterator>

namespace octet {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();
constexpr size_t kLanes = kDenseRun;

// Vectors of the compilers' own, four floats wide: what every machine of 64 bits has.
using Floats = float __attribute__((vector_size(16)));
using Words = uint32_t __attribute__((vector_size(16)));
constexpr size_t kWidth = 4;

inline Floats All(float x) { return Floats{x, x, x, x}; }
/// x where the mask has ones, else y.
inline Floats Select(Words mask, Floats x, Floats y) {
  return std::bit_cast<Floats>((std::bit_cast<Words>(x) & mask) |
                               (std::bit_cast<Words>(y) & ~mask));
}
inline Words Above(Floats x, Floats y) { return std::bit_cast<Words>(x > y); }

/// Four weights. Cody and Waite's reduction: x = n · ln 2 + r, |r| ≤ ln 2 / 2, e^r by Taylor to r^6
/// (its error there is 2^-23), times 2^n taken from the low bits of a float near 1.5 · 2^23.
inline Floats FourWeights(const DenseWeights& scale, Floats logits) {
  constexpr float kUnderflow = -85.0f, kLog2E = 0x1.715476p+0f, kShift = 12582912.0f;
  constexpr float kLn2High = 0x1.62e4p-1f, kLn2Low = 0x1.7f7d1cp-20f;
  constexpr float kTerms[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
  const Floats least = All(-kLargestLogit), most = All(kLargestLogit), under = All(kUnderflow);
  // A logit that is no number fails each comparison.
  Floats x = Select(Above(logits, least), logits, least);
  x = Select(Above(x, most), most, x);
  x = (x - scale.max) * scale.sharpness;
  const Words seen = Above(x, under) & Above(logits, All(kNone));
  x = Select(Above(x, under), x, under);
  const Floats shifted = x * kLog2E + kShift, n = shifted - kShift;
  const Floats r = (x - n * kLn2High) - n * kLn2Low;
  Floats e = All(kTerms[0]);
  for (size_t i = 1; i < std::size(kTerms); ++i) e = e * r + kTerms[i];
  const Words power = (std::bit_cast<Words>(shifted) + 127) << 23;
  return Select(seen, e * std::bit_cast<Floats>(power), Floats{});
}

inline Floats Load(const float* x) {
  Floats values;
  std::memcpy(&values, x, sizeof values);
  return values;
}

/// The last logits, fewer than kLanes, with -inf behind them.
struct Tail {
  explicit Tail(std::span<const float> logits) {
    const auto rest = logits.last(logits.size() % kLanes);
    std::fill_n(values, kLanes, kNone);
    std::copy(rest.begin(), rest.end(), values);
  }
  float values[kLanes];
};

}  // namespace

float MaxLogit(std::span<const float> logits) {
  constexpr size_t kWide = 2 * kLanes;  // two chains hide the latency
  float most[kWide];
  std::fill_n(most, kWide, kNone);
  size_t i = 0;
  for (; i + kWide <= logits.size(); i += kWide) {
    for (size_t j = 0; j < kWide; ++j) most[j] = logits[i + j] > most[j] ? logits[i + j] : most[j];
  }
  for (; i < logits.size(); ++i) most[0] = logits[i] > most[0] ? logits[i] : most[0];
  return *std::max_element(most, most + kWide);
}

size_t NextRun(std::span<const float> logits, size_t from, float floor) {
  const Floats least = All(floor);
  for (; from + kLanes <= logits.size(); from += kLanes) {
    Words reached = {};
    for (size_t j = 0; j < kLanes; j += kWidth) {
      reached |= std::bit_cast<Words>(Load(logits.data() + from + j) >= least);
    }
    const auto halves = std::bit_cast<std::array<uint64_t, 2>>(reached);
    if ((halves[0] | halves[1]) != 0) return from;
  }
  return std::min(from, logits.size());
}

int32_t FirstWithLogit(std::span<const float> logits, float logit) {
  size_t i = NextRun(logits, 0, logit);
  while (logits[i] != logit) ++i;
  return static_cast<int32_t>(i);
}

void DenseWeights::Compute(std::span<const float> logits, float* weights) const {
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t j = i; j < i + kLanes; j += kWidth) {
      const Floats four = FourWeights(*this, Load(logits.data() + j));
      std::memcpy(weights + j, &four, sizeof four);
    }
  }
  if (i == logits.size()) return;
  const Tail tail(logits);
  Floats last[kLanes / kWidth];
  for (size_t j = 0; j < kLanes; j += kWidth) {
    last[j / kWidth] = FourWeights(*this, Load(tail.values + j));
  }
  std::memcpy(weights + i, last, (logits.size() - i) * sizeof(float));
}

double DenseWeights::Sum(std::span<const float> logits, std::span<double> block_sums) const {
  double total = 0;
  for (size_t block = 0; block * kDenseBlock < logits.size(); ++block) {
    const size_t first = block * kDenseBlock;
    const auto part = logits.subspan(first, std::min(kDenseBlock, logits.size() - first));
    Floats sums[kLanes / kWidth] = {};
    const auto add = [&](const float* x) {
      for (size_t j = 0; j < kLanes / kWidth; ++j) {
        sums[j] += FourWeights(*this, Load(x + j * kWidth));
      }
    };
    size_t i = 0;
    for (; i + kLanes <= part.size(); i += kLanes) add(part.data() + i);
    if (i < part.size()) add(Tail(part).values);
    double sum = 0;
    for (const Floats& four : sums) {
      for (size_t j = 0; j < kWidth; ++j) sum += four[j];
    }
    block_sums[block] = sum;
    total += sum;
  }
  return total;
}

}  // namespace octet
