#include "train/objective.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "base/rng.h"

namespace octet {
namespace {

/// Log-probabilities of `n` completions of 3, 4, 5 … tokens.
struct Sample {
  explicit Sample(int64_t n) {
    for (int64_t c = 0; c < n; ++c) {
      const auto first = static_cast<int64_t>(log_prob.size());
      for (int64_t i = 0; i < 3 + c; ++i)
        log_prob.push_back(static_cast<float>(-3 * RandomUniform(2, c, i) - 0.05));
      completions.push_back({first, 3 + c, -2.0 - 1.5 * static_cast<double>(c % 3), c % 2 == 0});
    }
  }
  ObjectiveInput Input() const { return {log_prob, {}, completions}; }
  std::vector<float> log_prob;
  std::vector<Completion> completions;
};

class ObjectiveGradient : public ::testing::TestWithParam<ObjectiveOptions> {};

TEST_P(ObjectiveGradient, MatchesFiniteDifferences) {
  Sample sample(6);
  std::vector<float> d(sample.log_prob.size()), unused(d.size());
  // KTO's baseline carries no gradient, so it is given.
  auto input = [&] {
    ObjectiveInput in = sample.Input();
    in.kl = 0.3;
    return in;
  };
  EvaluateObjective(GetParam(), input(), d);
  for (size_t i = 0; i < d.size(); ++i) {
    const float start = sample.log_prob[i], step = 1e-3f;
    sample.log_prob[i] = start + step;
    const double width_up = static_cast<double>(sample.log_prob[i]) - start;
    const double up = EvaluateObjective(GetParam(), input(), unused).loss;
    sample.log_prob[i] = start - step;
    const double width_down = start - static_cast<double>(sample.log_prob[i]);
    const double down = EvaluateObjective(GetParam(), input(), unused).loss;
    sample.log_prob[i] = start;
    // Losses are in double: what is left is the cubic term, with third derivatives of order 1, and
    // the unequal widths of the two steps (a rounding of 2e-7 times the second derivative).
    EXPECT_NEAR((up - down) / (width_up + width_down), d[i], 2e-6) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, ObjectiveGradient,
    ::testing::Values(ObjectiveOptions{.kind = Objective::kTokens},
                      ObjectiveOptions{.kind = Objective::kDpo, .beta = 0.4},
                      ObjectiveOptions{.kind = Objective::kDpo, .label_smoothing = 0.2},
                      ObjectiveOptions{.kind = Objective::kIpo, .beta = 0.5},
                      ObjectiveOptions{.kind = Objective::kKto, .undesirable_weight = 2},
                      ObjectiveOptions{.kind = Objective::kOrpo, .lambda = 0.7},
                      ObjectiveOptions{.kind = Objective::kSimPo, .beta = 2}));

TEST(Objective, WeightsCountTokens) {
  const std::vector<float> log_prob = {-1, -2, -4}, weight = {1, 0.5f, 0};
  std::vector<float> d(3);
  const ObjectiveValue value = EvaluateObjective({}, {log_prob, weight, {}}, d);
  EXPECT_DOUBLE_EQ(value.loss, 2 / 1.5);
  EXPECT_FLOAT_EQ(d[1], -0.5f / 1.5f);
  EXPECT_EQ(d[2], 0);
}

TEST(Objective, EqualPolicyAndReferenceGiveTheLossOfChance) {
  Sample sample(2);
  for (Completion& c : sample.completions) {
    c.reference = 0;
    for (int64_t i = c.first; i < c.first + c.count; ++i)
      c.reference += sample.log_prob[static_cast<size_t>(i)];
  }
  std::vector<float> d(sample.log_prob.size());
  EXPECT_NEAR(EvaluateObjective({.kind = Objective::kDpo}, sample.Input(), d).loss, std::log(2.0),
              1e-12);
  EXPECT_NEAR(EvaluateObjective({.kind = Objective::kKto}, sample.Input(), d).loss, 0.5, 1e-12);
  EXPECT_NEAR(EvaluateObjective({.kind = Objective::kIpo, .beta = 0.1}, sample.Input(), d).loss, 25,
              1e-9);
}

TEST(Objective, ExtremeMarginsStayFinite) {
  std::vector<float> log_prob = {-1e4f, -1e-9f}, d(2);
  std::vector<Completion> completions = {{0, 1}, {1, 1}};
  for (const Objective kind : {Objective::kDpo, Objective::kOrpo, Objective::kSimPo}) {
    const auto value = EvaluateObjective({.kind = kind, .beta = 5}, {log_prob, {}, completions}, d);
    EXPECT_TRUE(std::isfinite(value.loss));
    EXPECT_TRUE(std::isfinite(d[0]) && std::isfinite(d[1]));
    EXPECT_EQ(value.correct, 0);
  }
}

TEST(Objective, AnUnknownNameListsTheKnown) {
  EXPECT_EQ(*ParseObjective("ipo"), Objective::kIpo);
  const auto unknown = ParseObjective("ppo");
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("tokens, sft, dpo"), std::string::npos);
}

}  // namespace
}  // namespace octet
