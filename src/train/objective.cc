#include "train/objective.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "base/check.h"

namespace octet {
namespace {

constexpr std::array<std::pair<std::string_view, Objective>, 7> kNames = {
    {{"tokens", Objective::kTokens},
     {"sft", Objective::kTokens},
     {"dpo", Objective::kDpo},
     {"ipo", Objective::kIpo},
     {"kto", Objective::kKto},
     {"orpo", Objective::kOrpo},
     {"simpo", Objective::kSimPo}}};

double Sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : 1 - 1 / (1 + std::exp(x)); }
/// -log σ(x), without overflow.
double Softplus(double x) { return std::max(-x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

double Sum(const ObjectiveInput& in, const Completion& c) {
  double sum = 0;
  for (int64_t i = c.first; i < c.first + c.count; ++i) sum += in.log_prob[static_cast<size_t>(i)];
  return sum;
}

void Spread(const Completion& c, double d, std::span<float> d_log_prob) {
  for (int64_t i = c.first; i < c.first + c.count; ++i)
    d_log_prob[static_cast<size_t>(i)] = static_cast<float>(d);
}

/// A pair's loss, its derivatives by each token of the two, and their rewards.
struct PairValue {
  double loss, d_chosen, d_rejected;
  double reward_chosen, reward_rejected;
};

/// log(odds) of a mean log-probability: l - log(1 - e^l). Its derivative is 1 / (1 - e^l).
double LogOdds(double l) { return l - std::log(-std::expm1(l)); }

PairValue EvaluatePair(const ObjectiveOptions& o, const ObjectiveInput& in, const Completion& c,
                       const Completion& r) {
  const double sum_c = Sum(in, c), sum_r = Sum(in, r);
  const auto n_c = static_cast<double>(std::max<int64_t>(c.count, 1));
  const auto n_r = static_cast<double>(std::max<int64_t>(r.count, 1));
  const double gain_c = sum_c - c.reference, gain_r = sum_r - r.reference;
  switch (o.kind) {
    case Objective::kDpo: {
      const double s = o.beta * (gain_c - gain_r), e = o.label_smoothing;
      const double d = o.beta * (e * Sigmoid(s) - (1 - e) * Sigmoid(-s));
      return {(1 - e) * Softplus(s) + e * Softplus(-s), d, -d, o.beta * gain_c, o.beta * gain_r};
    }
    case Objective::kIpo: {
      const double h = gain_c / n_c - gain_r / n_r - 1 / (2 * o.beta);
      return {h * h, 2 * h / n_c, -2 * h / n_r, o.beta * gain_c / n_c, o.beta * gain_r / n_r};
    }
    case Objective::kOrpo: {
      // A mean log-probability of exactly 0 has infinite odds.
      const double l_c = std::min(sum_c / n_c, -1e-7), l_r = std::min(sum_r / n_r, -1e-7);
      const double ratio = LogOdds(l_c) - LogOdds(l_r);
      const double d = -o.lambda * Sigmoid(-ratio);
      return {-l_c + o.lambda * Softplus(ratio), (-1 + d / -std::expm1(l_c)) / n_c,
              -d / -std::expm1(l_r) / n_r, l_c, l_r};
    }
    default: {
      CHECK(o.kind == Objective::kSimPo);
      const double s = o.beta * (sum_c / n_c - sum_r / n_r) - o.gamma;
      const double d = -o.beta * Sigmoid(-s);
      return {Softplus(s), d / n_c, -d / n_r, o.beta * sum_c / n_c, o.beta * sum_r / n_r};
    }
  }
}

ObjectiveValue EvaluatePairs(const ObjectiveOptions& o, const ObjectiveInput& in, double share,
                             std::span<float> d) {
  ObjectiveValue value;
  for (size_t i = 0; i + 1 < in.completions.size(); i += 2) {
    const Completion &c = in.completions[i], &r = in.completions[i + 1];
    const PairValue pair = EvaluatePair(o, in, c, r);
    value.loss += share * pair.loss;
    value.reward_chosen += pair.reward_chosen;
    value.reward_rejected += pair.reward_rejected;
    value.correct += pair.reward_chosen > pair.reward_rejected ? 1 : 0;
    value.margins.push_back(pair.reward_chosen - pair.reward_rejected);
    ++value.count;
    Spread(c, share * pair.d_chosen, d);
    Spread(r, share * pair.d_rejected, d);
  }
  return value;
}

/// The divergence is a baseline: no gradient flows through it.
ObjectiveValue EvaluateKto(const ObjectiveOptions& o, const ObjectiveInput& in, double share,
                           std::span<float> d) {
  double baseline = in.kl;
  if (baseline < 0) {
    double sum = 0;
    for (const Completion& c : in.completions) sum += Sum(in, c) - c.reference;
    baseline = std::max(0.0, sum / static_cast<double>(std::max<size_t>(in.completions.size(), 1)));
  }
  ObjectiveValue value;
  for (const Completion& c : in.completions) {
    const double gain = Sum(in, c) - c.reference, sign = c.desirable ? 1 : -1;
    const double weight = c.desirable ? o.desirable_weight : o.undesirable_weight;
    const double good = Sigmoid(sign * o.beta * (gain - baseline));
    value.loss += share * weight * (1 - good);
    (c.desirable ? value.reward_chosen : value.reward_rejected) += o.beta * gain;
    value.correct += sign * (gain - baseline) > 0 ? 1 : 0;
    ++value.count;
    Spread(c, -share * weight * sign * o.beta * good * (1 - good), d);
  }
  return value;
}

ObjectiveValue EvaluateTokens(const ObjectiveInput& in, double share, std::span<float> d) {
  ObjectiveValue value;
  double sum = 0;
  for (size_t i = 0; i < in.log_prob.size(); ++i) {
    const double weight = in.weight.empty() ? 1 : in.weight[i];
    sum -= weight * in.log_prob[i];
    d[i] = static_cast<float>(-weight * share);
  }
  value.loss = sum * share;
  return value;
}

}  // namespace

Result<Objective> ParseObjective(std::string_view name) {
  std::string known;
  for (const auto& [text, objective] : kNames) {
    if (text == name) return objective;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  return Err(ErrorCode::kInvalidArgument, "objective \"{}\" is not one of {}", name, known);
}

bool IsPairwise(Objective objective) {
  return objective != Objective::kTokens && objective != Objective::kKto;
}

bool NeedsReference(Objective objective) {
  return objective == Objective::kDpo || objective == Objective::kIpo ||
         objective == Objective::kKto;
}

double NaturalNormaliser(const ObjectiveOptions& options, const ObjectiveInput& in) {
  if (options.kind == Objective::kTokens) {
    if (in.weight.empty()) return static_cast<double>(in.log_prob.size());
    double sum = 0;
    for (const float weight : in.weight) sum += weight;
    return sum;
  }
  const auto n = static_cast<double>(in.completions.size());
  return IsPairwise(options.kind) ? n / 2 : n;
}

ObjectiveValue EvaluateObjective(const ObjectiveOptions& options, const ObjectiveInput& in,
                                 std::span<float> d_log_prob) {
  CHECK(d_log_prob.size() == in.log_prob.size());
  const double normaliser = in.normaliser > 0 ? in.normaliser : NaturalNormaliser(options, in);
  const double share = normaliser > 0 ? 1 / normaliser : 0;
  if (options.kind == Objective::kTokens) return EvaluateTokens(in, share, d_log_prob);
  std::fill(d_log_prob.begin(), d_log_prob.end(), 0.0f);
  if (options.kind == Objective::kKto) return EvaluateKto(options, in, share, d_log_prob);
  return EvaluatePairs(options, in, share, d_log_prob);
}

}  // namespace octet
