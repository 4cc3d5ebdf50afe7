// Finding steps and offsets of formats with both: value ≈ step · code − offset, code in 0..Top,
// step ≥ 0. Minimises Σ w·(x − step·code + offset)². For fixed codes the best step and offset solve
// two linear equations; codes come from trying steps and rounding again at the solution, which can
// only lower the error.
#pragma once

#include "quant/encode_common.h"

namespace octet::quant {

/// Trial steps of a group: (greatest − least) / (first + i·increment) for i < count.
struct AffineTrials {
  float first, increment;
  int count;
};

struct Affine {
  float step = 0.0f, offset = 0.0f;
};

struct AffineSums {
  float w = 0.0f, q = 0.0f, qq = 0.0f, x = 0.0f, xq = 0.0f;  // of w·1, w·q, w·q², w·x, w·x·q
  /// The error at (s, m), less Σ w·x².
  double ErrorAt(Affine at) const {
    const double s = at.step, m = at.offset;
    return s * s * qq + m * m * w - 2.0 * s * xq + 2.0 * m * x - 2.0 * s * m * q;
  }
  /// The best step and offset for these codes; the offset kept ≥ 0 unless `any_offset`.
  Affine Solve(bool any_offset) const {
    const double determinant = static_cast<double>(w) * qq - static_cast<double>(q) * q;
    if (determinant > 0.0) {
      const double s = (static_cast<double>(w) * xq - static_cast<double>(x) * q) / determinant;
      const double m = (static_cast<double>(q) * xq - static_cast<double>(qq) * x) / determinant;
      if (s >= 0.0 && (any_offset || m >= 0.0))
        return {static_cast<float>(s), static_cast<float>(m)};
    }
    if (xq > 0.0f && qq > 0.0f && !any_offset) return {xq / qq, 0.0f};
    return {0.0f, any_offset || x < 0.0f ? -x / w : 0.0f};
  }
};

/// Sums over the codes nearest to (x + offset)·inverse. N is a multiple of 4.
template <int N, int Top>
AffineSums SumsAt(const float* x, const float* w, float inverse, float offset) {
  Float4 sum_w = {}, sum_q = {}, sum_qq = {}, sum_x = {}, sum_xq = {};
  for (int i = 0; i < N; i += 4) {
    const Float4 v = Load4(x + i);
    const Float4 weight = Load4(w + i);
    const Float4 code =
        RoundNearest(Clamp((v + Splat(offset)) * Splat(inverse), 0.0f, static_cast<float>(Top)));
    const Float4 weighted = weight * code;
    sum_w += weight;
    sum_x += weight * v;
    sum_q += weighted;
    sum_qq += weighted * code;
    sum_xq += weighted * v;
  }
  return {Sum(sum_w), Sum(sum_q), Sum(sum_qq), Sum(sum_x), Sum(sum_xq)};
}

/// The best step and offset found for one group.
template <int N, int Top>
Affine SearchAffine(const float* x, const float* w, const AffineTrials& trials, bool any_offset) {
  float least = x[0], greatest = x[0];
  for (int i = 1; i < N; ++i) {
    least = std::min(least, x[i]);
    greatest = std::max(greatest, x[i]);
  }
  if (!any_offset) least = std::min(least, 0.0f);
  Affine best;
  double best_error = 0.0;
  const auto consider = [&](float inverse, float offset) {
    const AffineSums sums = SumsAt<N, Top>(x, w, inverse, offset);
    const Affine fit = sums.Solve(any_offset);
    const double error = sums.ErrorAt(fit);
    if (!(error < best_error)) return false;
    best_error = error;
    best = fit;
    return true;
  };
  const float inverse_range = Reciprocal(greatest - least);
  for (int i = 0; i < trials.count; ++i)
    consider((trials.first + static_cast<float>(i) * trials.increment) * inverse_range, -least);
  constexpr int kMostRoundings = 4;
  for (int i = 0; i < kMostRoundings; ++i)
    if (!consider(Reciprocal(best.step), best.offset)) break;
  return best;
}

/// A super-block's steps and offsets as stored: d and dmin are exactly representable in binary16.
template <int Groups>
struct SuperBlockAffine {
  float d = 0.0f, dmin = 0.0f;
  int scale[Groups] = {}, min[Groups] = {};
  Affine at(int g) const {
    return {d * static_cast<float>(scale[g]), dmin * static_cast<float>(min[g])};
  }
};

/// Fits one super-block of Groups·N values with integer scales and minima 0..ScaleTop.
template <int Groups, int N, int Top, int ScaleTop>
class SuperBlockAffineFit {
 public:
  using Block = SuperBlockAffine<Groups>;
  SuperBlockAffineFit(const float* x, const float* w) : x_(x), w_(w) {}

  Block Fit(const AffineTrials& trials) {
    Affine ideal[Groups];
    float greatest_step = 0.0f, greatest_offset = 0.0f;
    for (int g = 0; g < Groups; ++g) {
      ideal[g] = SearchAffine<N, Top>(x_ + g * N, w_ + g * N, trials, false);
      greatest_step = std::max(greatest_step, ideal[g].step);
      greatest_offset = std::max(greatest_offset, ideal[g].offset);
    }
    // The greatest scale need not be ScaleTop: a somewhat larger unit can suit all groups better.
    for (const float top : {1.0f, 0.91f}) {
      const float inverse_top = 1.0f / (top * static_cast<float>(ScaleTop));
      Start(ideal, greatest_step * inverse_top, greatest_offset * inverse_top);
    }
    return best_;
  }

 private:
  static int NearestScale(float value, float unit) {
    return static_cast<int>(
        RoundNearest(Clamp(value * Reciprocal(unit), 0.0f, static_cast<float>(ScaleTop))));
  }

  /// One descent from first values of d and dmin: scales and minima, then d and dmin, in turns,
  /// while the error falls.
  void Start(const Affine* ideal, float d, float dmin) {
    Block block;
    block.d = ToFloat(F16{StepBits(d)});
    block.dmin = ToFloat(F16{StepBits(dmin)});
    for (int g = 0; g < Groups; ++g) {
      block.scale[g] = NearestScale(ideal[g].step, block.d);
      block.min[g] = NearestScale(ideal[g].offset, block.dmin);
    }
    constexpr int kMostTurns = 4;
    double last = 0.0;
    for (int turn = 0; turn < kMostTurns; ++turn) {
      AffineSums scaled;
      const double error = ImproveScales(block, scaled);
      if (error < best_error_) {
        best_error_ = error;
        best_ = block;
      }
      if (!(error < last)) break;
      last = error;
      const Affine units = scaled.Solve(false);
      block.d = ToFloat(F16{StepBits(units.step)});
      block.dmin = ToFloat(F16{StepBits(units.offset)});
    }
  }

  /// Moves each scale and minimum by at most one to where the group's error is least. Returns the
  /// error of the super-block; `scaled` receives the sums whose solution is the best d and dmin.
  double ImproveScales(Block& block, AffineSums& scaled) const {
    double total = 0.0;
    for (int g = 0; g < Groups; ++g) {
      AffineSums chosen;
      total += ImproveGroup(block, g, chosen);
      const auto s = static_cast<float>(block.scale[g]);
      const auto m = static_cast<float>(block.min[g]);
      scaled.w += m * m * chosen.w;
      scaled.q += s * m * chosen.q;
      scaled.qq += s * s * chosen.qq;
      scaled.x += m * chosen.x;
      scaled.xq += s * chosen.xq;
    }
    return total;
  }

  double ImproveGroup(Block& block, int g, AffineSums& chosen) const {
    const int scale_around = block.scale[g], min_around = block.min[g];
    double least = 0.0;
    bool any = false;
    for (int scale = std::max(scale_around - 1, 0); scale <= std::min(scale_around + 1, ScaleTop);
         ++scale) {
      for (int min = std::max(min_around - 1, 0); min <= std::min(min_around + 1, ScaleTop);
           ++min) {
        const Affine at = {block.d * static_cast<float>(scale),
                           block.dmin * static_cast<float>(min)};
        const AffineSums sums =
            SumsAt<N, Top>(x_ + g * N, w_ + g * N, Reciprocal(at.step), at.offset);
        const double error = sums.ErrorAt(at);
        if (any && !(error < least)) continue;
        any = true;
        least = error;
        chosen = sums;
        block.scale[g] = scale;
        block.min[g] = min;
      }
    }
    return least;
  }

  const float* x_;
  const float* w_;
  Block best_;
  double best_error_ = 0.0;
};

}  // namespace octet::quant
