// Passes over the logits of a whole vocabulary, several at a time. A logit that is no number counts
// as -inf everywhere.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

namespace octet {

/// Distances between logits stay finite below this, whatever a broken model says.
constexpr float kLargestLogit = 1e37f;
/// Logits whose weights are summed together.
constexpr size_t kDenseBlock = 256;

/// The largest logit; -inf where there is none above it.
float MaxLogit(std::span<const float> logits);

/// The first id with this logit, which must be the largest.
int32_t FirstWithLogit(std::span<const float> logits, float logit);

/// exp((logit - max) · sharpness), logits and max clamped to ±kLargestLogit: 0 for -inf and where
/// it would be below 1e-37. `max` is the largest, `sharpness` finite and ≥ 0. Within 4 · 2^-24 of
/// the exact value of the float exponent, and the same bits on every machine.
struct DenseWeights {
  float max, sharpness;

  /// At most kDenseBlock of them.
  void Compute(std::span<const float> logits, float* weights) const;
  /// The sum of each kDenseBlock of them, and of all.
  double Sum(std::span<const float> logits, std::span<double> block_sums) const;
};

/// Ids are looked at in runs of so many.
constexpr size_t kDenseRun = 16;

/// The first id, from `from` on, of a run of which some logit is at least `floor`; `from` is a
/// multiple of kDenseRun. logits.size() where there is none. A last, shorter run always counts.
size_t NextRun(std::span<const float> logits, size_t from, float floor);

/// Calls fn(id) for each id of such runs; `floor` may rise meanwhile.
template <class Fn>
void ForEachNear(std::span<const float> logits, const float& floor, Fn fn) {
  for (size_t i = 0; (i = NextRun(logits, i, floor)) < logits.size(); i += kDenseRun) {
    const size_t end = i + kDenseRun < logits.size() ? i + kDenseRun : logits.size();
    for (size_t id = i; id < end; ++id) fn(id);
  }
}

}  // namespace octet
