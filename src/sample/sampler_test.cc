#include "sample/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "support/shared_data.h"

namespace octet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Sampler Make(const SamplingOptions& options, int32_t vocab_size,
             std::vector<int32_t> end_ids = {}) {
  auto sampler = Sampler::Create(options, {vocab_size, std::move(end_ids), {}});
  EXPECT_TRUE(sampler) << sampler.error().message;
  return *std::move(sampler);
}

/// id → probability of what is left.
std::map<int32_t, float> Left(const Sampler& sampler) {
  std::map<int32_t, float> left;
  for (const Candidate& c : sampler.candidates()) left[c.id] = c.p;
  return left;
}

std::map<int32_t, float> LeftOf(const SamplingOptions& options, std::vector<float> logits) {
  Sampler sampler = Make(options, static_cast<int32_t>(logits.size()));
  sampler.Sample(logits, {}, 0);
  return Left(sampler);
}

/// Logits of the given probabilities.
std::vector<float> Logs(std::initializer_list<double> probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

class GoldenSampling : public ::testing::Test {
 protected:
  void SetUp() override { OCTET_NEEDS_SHARED_DATA(); }

  /// The tokens left and their probabilities equal the reference's up to float rounding: the
  /// reference sums 512 float terms, so a relative error of 512 · 2^-24 is the bound.
  void Expect(const SamplingOptions& options, const std::string& key) {
    SCOPED_TRACE(key);
    const testing::Golden golden(testing::SharedData() / "reference/golden/sampling");
    auto logits = golden.Get<float>("logits");
    const auto want = golden.Get<float>(key);
    Sampler sampler = Make(options, static_cast<int32_t>(logits.size()));
    sampler.Sample(logits, {}, 0);
    std::map<int32_t, float> left = Left(sampler);
    for (size_t id = 0; id < want.size(); ++id) {
      const float got = left[static_cast<int32_t>(id)];
      EXPECT_EQ(got > 0, want[id] > 0) << "token " << id;
      EXPECT_NEAR(got, want[id], want[id] * 512 * 0x1p-24f) << "token " << id;
    }
  }
};

TEST_F(GoldenSampling, TemperatureEqualsTheReference) {
  for (const char* t : {"0.3", "0.7", "1.5"}) {
    SamplingOptions options = SamplingOptions::Plain();
    options.temperature = std::stof(t);
    Expect(options, std::string("probs_temperature_") + t);
  }
}

TEST_F(GoldenSampling, TopKEqualsTheReference) {
  for (const int k : {1, 5, 40}) {
    SamplingOptions options = SamplingOptions::Plain();
    options.top_k = k;
    Expect(options, "probs_top_k_" + std::to_string(k));
  }
}

TEST_F(GoldenSampling, TopPEqualsTheReference) {
  for (const char* p : {"0.1", "0.5", "0.8", "0.95"}) {
    SamplingOptions options = SamplingOptions::Plain();
    options.top_p = std::stof(p);
    Expect(options, std::string("probs_top_p_") + p);
  }
}

TEST_F(GoldenSampling, TypicalEqualsTheReference) {
  SamplingOptions options = SamplingOptions::Plain();
  options.typical_p = 0.7f;
  Expect(options, "probs_typical_0.7");
}

TEST_F(GoldenSampling, TemperatureFirstEqualsHuggingFaceAndMistral) {
  SamplingOptions options = SamplingOptions::Plain();
  options.temperature_first = true;
  options.temperature = 0.8f;
  options.top_k = 20;
  options.top_p = 0.9f;
  Expect(options, "probs_temperature_0.8_then_top_k_20_then_top_p_0.9");
  options.temperature = 0.7f;
  options.top_k = 0;
  for (const char* p : {"0.1", "0.5", "0.8", "0.95"}) {
    options.top_p = std::stof(p);
    Expect(options, std::string("probs_mistral_temperature_0.7_top_p_") + p);
  }
}

TEST_F(GoldenSampling, RepetitionPenaltyEqualsTheReference) {
  const testing::Golden golden(testing::SharedData() / "reference/golden/sampling");
  auto logits = golden.Get<float>("logits");
  const auto want = golden.Get<float>("logits_repetition_penalty_1.3");
  SamplingOptions options;
  options.repeat_penalty = 1.3f;
  options.penalty_last_n = -1;
  std::vector<int32_t> counts(logits.size(), 0);
  ApplyPenalties(options, golden.Get<int32_t>("history"), counts, logits);
  EXPECT_EQ(logits, want);
  EXPECT_EQ(counts, std::vector<int32_t>(logits.size(), 0));
}

TEST(Sampler, TakesTheLowestOfEqualsAtTemperatureZero) {
  Sampler sampler = Make(SamplingOptions::Greedy(), 5);
  std::vector<float> logits = {1, 3, 2, 3, 3};
  EXPECT_EQ(sampler.Sample(logits, {}, 0), 1);
}

TEST(Sampler, KeepsTheLowestIdsOfEqualsInTopK) {
  SamplingOptions options = SamplingOptions::Plain();
  options.top_k = 2;
  EXPECT_THAT(LeftOf(options, {1, 1, 1, 0}),
              ElementsAre(::testing::Pair(0, 0.5f), ::testing::Pair(1, 0.5f)));
}

TEST(Sampler, KeepsTokensAboveTheShareOfTheLikeliestInMinP) {
  SamplingOptions options = SamplingOptions::Plain();
  options.min_p = 0.25f;  // 0.25 · 0.5 = 0.125
  const auto left = LeftOf(options, Logs({0.1, 0.5, 0.15, 0.12, 0.13}));
  EXPECT_EQ(left.size(), 3u);
  EXPECT_NEAR(left.at(1), 0.5 / 0.78, 1e-6);
  EXPECT_NEAR(left.at(4), 0.13 / 0.78, 1e-6);
}

TEST(Sampler, TruncatesBeforeTheTemperatureUnlessAsked) {
  // At temperature 2 the shares 0.6, 0.3, 0.1 become 0.473, 0.334, 0.193.
  SamplingOptions options = SamplingOptions::Plain();
  options.top_p = 0.85f;
  options.temperature = 2;
  EXPECT_EQ(LeftOf(options, Logs({0.6, 0.3, 0.1})).size(), 2u);
  options.temperature_first = true;
  EXPECT_EQ(LeftOf(options, Logs({0.6, 0.3, 0.1})).size(), 3u);
}

TEST(Sampler, KeepsTheLikeliestWhenTruncationsAreZero) {
  SamplingOptions options = SamplingOptions::Plain();
  options.top_p = 0;
  EXPECT_THAT(LeftOf(options, {0, 2, 1}), ElementsAre(::testing::Pair(1, 1.0f)));
}

TEST(Sampler, DrawsWithTheModelsFrequencies) {
  std::vector<float> logits = Logs({0.5, 0.3, 0.15, 0.05});
  SamplingOptions options = SamplingOptions::Plain();
  options.seed = 7;
  Sampler sampler = Make(options, 4);
  constexpr int kDraws = 20000;
  std::map<int32_t, int> seen;
  for (int i = 0; i < kDraws; ++i) ++seen[sampler.Sample(logits, {}, i)];
  for (const auto& [id, p] : std::map<int32_t, double>{{0, 0.5}, {1, 0.3}, {2, 0.15}, {3, 0.05}}) {
    const double deviation = std::sqrt(p * (1 - p) / kDraws);
    EXPECT_NEAR(seen[id] / static_cast<double>(kDraws), p, 4 * deviation) << "token " << id;
  }
}

TEST(Sampler, DependsOnSeedStreamAndPositionOnly) {
  std::vector<float> logits(100, 0.0f);
  const auto draw = [&](uint64_t seed, uint64_t stream) {
    SamplingOptions options = SamplingOptions::Plain();
    options.seed = seed;
    options.stream = stream;
    Sampler sampler = Make(options, 100);
    std::vector<int32_t> ids;
    for (int position = 0; position < 20; ++position) {
      ids.push_back(sampler.Sample(logits, {}, position));
    }
    return ids;
  };
  EXPECT_EQ(draw(1, 0), draw(1, 0));
  EXPECT_NE(draw(1, 0), draw(2, 0));
  EXPECT_NE(draw(1, 0), draw(1, 1));
}

TEST(Sampler, NeverChoosesBannedTokens) {
  SamplingOptions options = SamplingOptions::Greedy();
  options.banned_ids = {4};
  options.logit_bias = {{3, -kInfinity}, {1, 5.0f}};
  options.ignore_eos = true;
  Sampler sampler = Make(options, 5, {2});
  std::vector<float> logits = {0, -2, 9, 9, 9};
  EXPECT_EQ(sampler.Sample(logits, {}, 0), 1);
}

TEST(Sampler, LeavesTheLogitsAsTheyWere) {
  SamplingOptions options = SamplingOptions::Plain();
  options.banned_ids = {1, 3};
  options.logit_bias = {{3, 2.0f}, {0, -1.5f}, {3, 4.0f}};
  const std::vector<float> before = {0.1f, -2, 9, 0.3f, -kInfinity};
  for (const float presence : {0.0f, 0.5f}) {
    options.presence_penalty = presence;
    Sampler sampler = Make(options, 5);
    std::vector<float> logits = before;
    sampler.Sample(logits, std::vector<int32_t>{2, 0}, 2);
    EXPECT_EQ(logits, before);
  }
}

TEST(Sampler, SaysWhenNoTokenIsPossible) {
  Sampler sampler = Make(SamplingOptions::Plain(), 2);
  std::vector<float> logits = {-kInfinity, std::nanf("")};
  EXPECT_EQ(sampler.Sample(logits, {}, 0), -1);
}

TEST(Sampler, SurvivesExtremeLogits) {
  SamplingOptions options = SamplingOptions::Plain();
  options.temperature = 1e-30f;
  options.typical_p = 0.9f;
  options.top_p = 0.9f;
  options.min_p = 0.1f;
  Sampler sampler = Make(options, 4);
  std::vector<float> logits = {-3e38f, kInfinity, 3e38f, 0};
  EXPECT_EQ(sampler.Sample(logits, {}, 0), 1);
}

TEST(Sampler, SubtractsPresenceAndFrequencyPenaltiesInTheWindow) {
  SamplingOptions options = SamplingOptions::Plain();
  options.presence_penalty = 0.5f;
  options.frequency_penalty = 0.25f;
  options.penalty_last_n = 3;
  std::vector<float> logits = {1, 1, 1, 1};
  std::vector<int32_t> counts(4, 0);
  ApplyPenalties(options, std::vector<int32_t>{3, 0, 1, 0}, counts, logits);
  EXPECT_THAT(logits, ElementsAre(0.0f, 0.25f, 1.0f, 1.0f));
}

TEST(Sampler, KeepsSurpriseBelowMirostatsBoundAndMovesIt) {
  // tau 1: mu starts at 2 bits, so of 0.5, 0.3, 0.1, 0.1 (1, 1.74, 3.3 bits) two stay.
  SamplingOptions options = SamplingOptions::Plain();
  options.mirostat_tau = 1;
  options.mirostat_eta = 0.5f;
  options.seed = 3;
  std::vector<float> logits = Logs({0.5, 0.3, 0.1, 0.1});
  Sampler sampler = Make(options, 4);
  const int32_t first = sampler.Sample(logits, {}, 0);
  auto left = Left(sampler);
  EXPECT_EQ(left.size(), 2u);
  EXPECT_NEAR(left.at(0), 0.5 / 0.8, 1e-6);
  // A token of 1 bit leaves mu at 2; one of 1.74 lowers it to 1.63, which only 0.5 passes.
  sampler.Sample(logits, {}, 1);
  EXPECT_EQ(sampler.candidates().size(), first == 0 ? 2u : 1u);
}

TEST(Sampler, HoldsMirostatsMeanSurpriseAtTheTarget) {
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = -std::log(static_cast<float>(i + 1));
  SamplingOptions options = SamplingOptions::Plain();
  options.mirostat_tau = 4;
  Sampler sampler = Make(options, 1000);
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));
  double bits = 0;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    bits += std::log2(total) - logits[sampler.Sample(logits, {}, i)] / std::log(2.0);
  }
  // mu moves by eta · (mean surprise − tau) a step and stays bounded, so the mean converges.
  EXPECT_NEAR(bits / kDraws, 4, 0.05);
}

TEST(Dry, PenalisesTheTokenThatExtendsTheLongestRepetition) {
  // … 1 2 3 4 … 2 3 5 … 1 2 3: after "1 2 3" came 4 (length 3), after "2 3" came 5 (length 2).
  SamplingOptions options;
  options.dry_multiplier = 0.8f;
  DryPenalty dry(options, 10, {});
  std::vector<float> logits(10, 0);
  dry.Apply(std::vector<int32_t>{1, 2, 3, 4, 0, 2, 3, 5, 9, 1, 2, 3}, logits);
  EXPECT_FLOAT_EQ(logits[4], -0.8f * 1.75f);
  EXPECT_FLOAT_EQ(logits[5], -0.8f);
  for (const int id : {0, 1, 2, 3, 6, 7, 8, 9}) EXPECT_EQ(logits[id], 0) << id;
}

TEST(Dry, StopsAtBreakersAndTheWindow) {
  SamplingOptions options;
  options.dry_multiplier = 1;
  const std::vector<int32_t> history = {1, 7, 3, 4, 9, 1, 7, 3};
  const auto penalty_of_4 = [&](std::vector<int32_t> breakers, int32_t last_n) {
    options.dry_last_n = last_n;
    DryPenalty dry(options, 10, breakers);
    std::vector<float> logits(10, 0);
    dry.Apply(history, logits);
    return logits[4];
  };
  EXPECT_FLOAT_EQ(penalty_of_4({}, -1), -1.75f);  // 1 7 3
  EXPECT_EQ(penalty_of_4({7}, -1), 0);            // 3 alone is shorter than allowed
  EXPECT_EQ(penalty_of_4({4}, -1), 0);            // a breaker is never penalised
  EXPECT_FLOAT_EQ(penalty_of_4({}, 7), -1);       // 7 3: the first 1 is out of the window
  EXPECT_EQ(penalty_of_4({}, 4), 0);
}

TEST(Dry, StaysFastAndFiniteOnOneRepeatedToken) {
  SamplingOptions options;
  options.dry_multiplier = 1;
  DryPenalty dry(options, 2, {});
  std::vector<float> logits(2, 0);
  dry.Apply(std::vector<int32_t>(100000, 1), logits);
  EXPECT_FLOAT_EQ(logits[1], -1e30f);
}

TEST(SamplingOptions, NamesTheOptionAndItsRange) {
  const auto message = [](auto change) {
    SamplingOptions options;
    change(options);
    const Status status = Validate(options, 100);
    return status ? std::string() : status.error().message;
  };
  EXPECT_EQ(message([](SamplingOptions&) {}), "");
  EXPECT_EQ(message([](auto& o) { o.top_p = 1.5f; }),
            "top_p is 1.5, expected a number from 0 to 1");
  EXPECT_THAT(message([](auto& o) { o.temperature = std::nanf(""); }), HasSubstr("temperature"));
  EXPECT_THAT(message([](auto& o) { o.top_k = -1; }), HasSubstr("0 or more"));
  EXPECT_THAT(message([](auto& o) { o.repeat_penalty = 0; }), HasSubstr("repeat_penalty"));
  EXPECT_THAT(message([](auto& o) { o.logit_bias = {{100, 1.0f}}; }), HasSubstr("0 to 99"));
  EXPECT_THAT(message([](auto& o) { o.logit_bias = {{1, kInfinity}}; }), HasSubstr("logit_bias"));
  EXPECT_THAT(message([](auto& o) { o.banned_ids = {-1}; }), HasSubstr("banned_ids"));
  EXPECT_THAT(message([](auto& o) { o.dry_base = 0.5f; }), HasSubstr("dry_base"));
  EXPECT_THAT(message([](auto& o) { o.penalty_last_n = -2; }), HasSubstr("whole context"));
}

}  // namespace
}  // namespace octet
