// Finding the steps of formats without an offset: value ≈ step · level, where a group of N values
// shares a step, and in super-blocks the step of group g is d · scale[g] with an integer scale.
// Minimises Σ w·(x − step·level)². For a fixed assignment of levels the best step is a quotient of
// sums, Σ w·x·level / Σ w·level²; the assignment itself comes from trying steps and then rounding
// again at the fitted one, which can only lower the error (Lloyd 1982).
#pragma once

#include "quant/encode_common.h"

namespace octet::quant {

/// Integer levels Lo..Hi.
template <int Lo, int Hi>
struct UniformLevels {
  template <class V>  // float or Float4
  static V Nearest(V v) {
    return RoundNearest(Clamp(v, static_cast<float>(Lo), static_cast<float>(Hi)));
  }
};

/// How many steps are tried, as the level that a group's extreme value would get:
/// ±(first + i·increment) for i < count.
struct StepTrials {
  float first, increment;
  int count;
};

struct StepSums {
  float xq = 0.0f;  // Σ w·x·level
  float qq = 0.0f;  // Σ w·level²
  /// The error at step s, less Σ w·x², which no choice changes.
  double ErrorAt(float s) const {
    return static_cast<double>(s) * (static_cast<double>(s) * qq - 2.0 * xq);
  }
};

/// Sums over the levels nearest to x·inverse. N is a multiple of 8.
template <int N, class Levels>
StepSums SumsAt(const float* x, const float* w, float inverse) {
  Float4 xq[2] = {}, qq[2] = {};
  for (int i = 0; i < N; i += 8) {
    for (int j = 0; j < 2; ++j) {
      const Float4 v = Load4(x + i + 4 * j);
      const Float4 level = Levels::Nearest(v * Splat(inverse));
      const Float4 weighted = Load4(w + i + 4 * j) * level;
      xq[j] += weighted * v;
      qq[j] += weighted * level;
    }
  }
  return {Sum(xq[0] + xq[1]), Sum(qq[0] + qq[1])};
}

/// How a group's step will be stored: as binary16, or as an integer multiple of a super-block's d,
/// in which case rounding it is a later matter.
enum class StepStorage { kF16, kScaled };

/// The best step found for one group; 0 when all its values are 0.
template <int N, class Levels, StepStorage Storage>
float SearchStep(const float* x, const float* w, const StepTrials& trials) {
  const float extreme = Extreme(x, N);
  if (extreme == 0.0f) return 0.0f;
  float best_step = 0.0f;
  double best_error = 0.0;
  const auto consider = [&](float inverse) {
    const StepSums sums = SumsAt<N, Levels>(x, w, inverse);
    if (!(sums.qq > 0.0f)) return false;
    float step = sums.xq / sums.qq;
    if constexpr (Storage == StepStorage::kF16) step = ToFloat(F16{StepBits(step)});
    const double error = sums.ErrorAt(step);
    if (!(error < best_error)) return false;
    best_error = error;
    best_step = step;
    return true;
  };
  for (int i = 0; i < trials.count; ++i) {
    const float inverse = (trials.first + static_cast<float>(i) * trials.increment) / extreme;
    consider(inverse);
    consider(-inverse);
  }
  constexpr int kMostRoundings = 4;
  for (int i = 0; i < kMostRoundings && best_step != 0.0f; ++i)
    if (!consider(1.0f / best_step)) break;
  return best_step;
}

/// A super-block's step as stored: d is exactly representable in binary16.
template <int Groups>
struct SuperBlockSteps {
  float d = 0.0f;
  int scale[Groups] = {};
  float step(int g) const { return d * static_cast<float>(scale[g]); }
};

/// Fits one super-block of Groups·N values with integer scales ScaleLo..ScaleHi.
template <int Groups, int N, class Levels, int ScaleLo, int ScaleHi>
class SuperBlockStepFit {
 public:
  SuperBlockStepFit(const float* x, const float* w) : x_(x), w_(w) {}

  SuperBlockSteps<Groups> Fit(const StepTrials& trials) {
    float ideal[Groups];
    for (int g = 0; g < Groups; ++g)
      ideal[g] = SearchStep<N, Levels, StepStorage::kScaled>(x_ + g * N, w_ + g * N, trials);
    const float extreme = Extreme(ideal, Groups);
    if (extreme == 0.0f) return {};
    // The group of the greatest step gets either end of the range: the sign of d is free.
    Start(ideal, extreme / static_cast<float>(ScaleLo));
    Start(ideal, extreme / static_cast<float>(ScaleHi));
    return best_;
  }

 private:
  /// One descent from a first value of d: scales, then d, in turns, while the error falls.
  void Start(const float* ideal, float d) {
    SuperBlockSteps<Groups> steps;
    steps.d = ToFloat(F16{StepBits(d)});
    const float inverse = Reciprocal(steps.d);
    for (int g = 0; g < Groups; ++g)
      steps.scale[g] = static_cast<int>(RoundNearest(Clamp(ideal[g] * inverse, ScaleLo, ScaleHi)));
    constexpr int kMostTurns = 4;
    double last = 0.0;
    for (int turn = 0; turn < kMostTurns && steps.d != 0.0f; ++turn) {
      StepSums scaled;
      const double error = ImproveScales(steps, scaled);
      if (error < best_error_) {
        best_error_ = error;
        best_ = steps;
      }
      if (!(error < last) || !(scaled.qq > 0.0f)) break;
      last = error;
      steps.d = ToFloat(F16{StepBits(scaled.xq / scaled.qq)});
    }
  }

  /// Moves each scale by at most one to where its group's error is least. Returns the error of the
  /// super-block; `scaled` receives the sums from which the best d for these scales follows.
  double ImproveScales(SuperBlockSteps<Groups>& steps, StepSums& scaled) const {
    double total = 0.0;
    for (int g = 0; g < Groups; ++g) {
      const int around = steps.scale[g];
      double least = 0.0;
      StepSums chosen;
      steps.scale[g] = 0;
      for (int scale = std::max(around - 1, ScaleLo); scale <= std::min(around + 1, ScaleHi);
           ++scale) {
        const float step = steps.d * static_cast<float>(scale);
        const StepSums sums = SumsAt<N, Levels>(x_ + g * N, w_ + g * N, Reciprocal(step));
        const double error = sums.ErrorAt(step);
        if (!(error < least)) continue;
        least = error;
        chosen = sums;
        steps.scale[g] = scale;
      }
      const auto scale = static_cast<float>(steps.scale[g]);
      scaled.xq += scale * chosen.xq;
      scaled.qq += scale * scale * chosen.qq;
      total += least;
    }
    return total;
  }

  const float* x_;
  const float* w_;
  SuperBlockSteps<Groups> best_;
  double best_error_ = 0.0;
};

}  // namespace octet::quant
