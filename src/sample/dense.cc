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

// Vectors of the compilers' own. Four floats wide is what every machine of 64 bits has; the same
// operations on eight or sixteen at a time give the same bits.
template <size_t kFloats>
struct Side {
  using Floats [[gnu::vector_size(kFloats * sizeof(float))]] = float;
  using Words [[gnu::vector_size(kFloats * sizeof(float))]] = uint32_t;
};
constexpr size_t kWidth = 4;
using Floats = Side<kWidth>::Floats;
using Words = Side<kWidth>::Words;

// By reference, and always inlined: how wide vectors are passed depends on the instruction set.
#define OCTET_INLINE [[gnu::always_inline]] inline

template <class F>
OCTET_INLINE void LoadFrom(const float* x, F& values) {
  std::memcpy(&values, x, sizeof values);
}

/// Logits become weights. Cody and Waite's reduction: x = n · ln 2 + r, |r| ≤ ln 2 / 2, e^r by
/// Taylor to r^6 (its error there is 2^-23), times 2^n taken from the low bits of a float near
/// 1.5 · 2^23.
template <size_t kFloats>
OCTET_INLINE void Weigh(const DenseWeights& scale, typename Side<kFloats>::Floats& logits) {
  using F = typename Side<kFloats>::Floats;
  using W = typename Side<kFloats>::Words;
  constexpr float kUnderflow = -85.0f, kLog2E = 0x1.715476p+0f, kShift = 12582912.0f;
  constexpr float kLn2High = 0x1.62e4p-1f, kLn2Low = 0x1.7f7d1cp-20f;
  const F most = F{} + kLargestLogit, under = F{} + kUnderflow;
  F x = logits;
  x = x > most ? most : x;
  x = (x - scale.max) * scale.sharpness;
  // No number and -inf fail the comparison.
  const auto seen = x > under;
  x = seen ? x : under;
  const F shifted = x * kLog2E + kShift, n = shifted - kShift;
  const F r = (x - n * kLn2High) - n * kLn2Low;
  // Written out: as a loop over the terms it stays one.
  const F e6 = F{} + 1.0f / 720;
  const F e4 = (e6 * r + 1.0f / 120) * r + 1.0f / 24;
  const F e2 = (e4 * r + 1.0f / 6) * r + 0.5f;
  const F e = (e2 * r + 1.0f) * r + 1.0f;
  const W power = (reinterpret_cast<W>(shifted) + 127) << 23;
  logits = seen ? e * reinterpret_cast<F>(power) : F{};
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

template <size_t kFloats>
OCTET_INLINE double SumOf(const DenseWeights& scale, std::span<const float> logits,
                          std::span<double> block_sums) {
  using F = typename Side<kFloats>::Floats;
  double total = 0;
  const Tail tail(logits);
  for (size_t block = 0; block * kDenseBlock < logits.size(); ++block) {
    const size_t first = block * kDenseBlock, end = std::min(first + kDenseBlock, logits.size());
    F sums[kLanes / kFloats] = {};
    for (size_t i = first; i < end; i += kLanes) {
      const float* run = i + kLanes <= end ? logits.data() + i : tail.values;
      for (size_t j = 0; j < kLanes / kFloats; ++j) {
        F weights;
        LoadFrom(run + j * kFloats, weights);
        Weigh<kFloats>(scale, weights);
        sums[j] += weights;
      }
    }
    double sum = 0;
    for (const F& some : sums) {
      for (size_t j = 0; j < kFloats; ++j) sum += some[j];
    }
    block_sums[block] = sum;
    total += sum;
  }
  return total;
}

template <size_t kFloats>
OCTET_INLINE float MaxOf(std::span<const float> logits) {
  using F = typename Side<kFloats>::Floats;
  constexpr size_t kChains = 4;  // hide the latency
  F most[kChains];
  for (F& some : most) some = F{} + kNone;
  size_t i = 0;
  for (; i + kChains * kFloats <= logits.size(); i += kChains * kFloats) {
    for (size_t c = 0; c < kChains; ++c) {
      F values;
      LoadFrom(logits.data() + i + c * kFloats, values);
      most[c] = values > most[c] ? values : most[c];
    }
  }
  float largest = kNone;
  for (const F& some : most) {
    for (size_t j = 0; j < kFloats; ++j) largest = std::max(largest, some[j]);
  }
  for (; i < logits.size(); ++i) largest = logits[i] > largest ? logits[i] : largest;
  return largest;
}

template <size_t kFloats>
OCTET_INLINE void WeighAll(const DenseWeights& scale, std::span<const float> logits,
                           float* weights) {
  const auto weigh = [&](const float* from, float* to) {
    for (size_t j = 0; j < kLanes; j += kFloats) {
      typename Side<kFloats>::Floats some;
      LoadFrom(from + j, some);
      Weigh<kFloats>(scale, some);
      std::memcpy(to + j, &some, sizeof some);
    }
  };
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) weigh(logits.data() + i, weights + i);
  if (i == logits.size()) return;
  float last[kLanes];
  weigh(Tail(logits).values, last);
  std::copy_n(last, logits.size() - i, weights + i);
}

struct Passes {
  float (*max)(std::span<const float>);
  double (*sum)(const DenseWeights&, std::span<const float>, std::span<double>);
  void (*weigh)(const DenseWeights&, std::span<const float>, float*);
};

// Each as a function of its own, for instructions of its own.
#define OCTET_PASSES(target, name, floats)                                                  \
  target float MaxBy##name(std::span<const float> logits) { return MaxOf<floats>(logits); } \
  target double SumBy##name(const DenseWeights& scale, std::span<const float> logits,       \
                            std::span<double> block_sums) {                                 \
    return SumOf<floats>(scale, logits, block_sums);                                        \
  }                                                                                         \
  target void WeighBy##name(const DenseWeights& scale, std::span<const float> logits,       \
                            float* weights) {                                               \
    WeighAll<floats>(scale, logits, weights);                                               \
  }                                                                                         \
  constexpr Passes kBy##name = {MaxBy##name, SumBy##name, WeighBy##name};

OCTET_PASSES(, Four, 4)

#if defined(__x86_64__)
OCTET_PASSES([[gnu::target("avx2")]], Eight, 8)
OCTET_PASSES([[gnu::target("avx512f,avx512dq")]], Sixteen, 16)

const Passes& Widest() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) return kBySixteen;
  return __builtin_cpu_supports("avx2") ? kByEight : kByFour;
}
#else
const Passes& Widest() { return kByFour; }
#endif

const Passes& PassesHere() {
  static const Passes& passes = Widest();
  return passes;
}

}  // namespace

float MaxLogit(std::span<const float> logits) { return PassesHere().max(logits); }

size_t NextRun(std::span<const float> logits, size_t from, float floor) {
  const Floats least = Floats{} + floor;
  for (; from + kLanes <= logits.size(); from += kLanes) {
    Words reached = {};
    for (size_t j = 0; j < kLanes; j += kWidth) {
      Floats values;
      LoadFrom(logits.data() + from + j, values);
      reached |= reinterpret_cast<Words>(values >= least);
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
  PassesHere().weigh(*this, logits, weights);
}

double DenseWeights::Sum(std::span<const float> logits, std::span<double> block_sums) const {
  return PassesHere().sum(*this, logits, block_sums);
}

}  // namespace octet
