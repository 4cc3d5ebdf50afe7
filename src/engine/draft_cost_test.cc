#include "engine/draft_cost.h"

#include <gtest/gtest.h>

#include <cmath>

namespace octet {
namespace {

/// Every guess has the same first rate.
class EvenDrafter : public Drafter {
 public:
  explicit EvenDrafter(double rate) : rate_(rate) {}
  double Draft(std::span<const DraftJob>, Context&) override { return 0; }
  double FirstRate(int32_t) const override { return rate_; }

 private:
  double rate_;
};

const StepPrior kMixtral = {
    .shared_bytes = 1e9, .expert_bytes = 3.2e9, .n_experts = 8, .experts_per_token = 2};
const StepPrior kDense = {.shared_bytes = 4e9};

StepTimes Measured(const StepPrior& prior, std::initializer_list<std::pair<int32_t, double>> steps,
                   int64_t sequences = 1) {
  StepTimes times(prior, sequences, 16);
  for (const auto& [extra, seconds] : steps) {
    for (int i = 0; i < 5; ++i) times.Add(extra, seconds);
  }
  return times;
}

DraftOffer Offer(std::initializer_list<double> chances) {
  DraftOffer offer;
  for (const double chance : chances) offer.chance[static_cast<size_t>(offer.offered++)] = chance;
  return offer;
}

int32_t ChooseOne(DraftOffer offer, const StepTimes& times) {
  return ChooseDrafts({&offer, 1}, times);
}

TEST(ExpectedExperts, CountsDistinctOnes) {
  EXPECT_EQ(ExpectedExperts(8, 2, 1), 2.0);
  EXPECT_EQ(ExpectedExperts(8, 2, 2), 3.5);
  EXPECT_NEAR(ExpectedExperts(8, 2, 16), 7.92, 0.005);
  EXPECT_EQ(ExpectedExperts(0, 0, 4), 0.0);
  EXPECT_EQ(ExpectedExperts(4, 4, 3), 4.0);
}

TEST(StepTimes, ScalesTheFirstTimeByBytesWhereNothingElseIsKnown) {
  const StepTimes times = Measured(kMixtral, {{0, 0.2}});
  EXPECT_DOUBLE_EQ(times.Seconds(0), 0.2);
  // 1 + 3.2·2 against 1 + 3.2·3.5 of what a step reads, and a little arithmetic.
  EXPECT_GT(times.Seconds(1), 0.2 * 12.2 / 7.4);
  EXPECT_LT(times.Seconds(1), 0.2 * 12.2 / 7.4 * 1.02);
  EXPECT_LT(Measured(kDense, {{0, 0.2}}).Seconds(1), 0.21);
}

TEST(StepTimes, TakesTheMedianOfTheLastFive) {
  StepTimes times(kDense, 1, 4);
  for (const double seconds : {9.0, 9.0, 1.0, 1.1, 50.0, 1.2, 1.3}) times.Add(0, seconds);
  EXPECT_EQ(times.Seconds(0), 1.2);
}

TEST(StepTimes, StaysBetweenMeasuredNeighboursAndFollowsTheirSlopeBeyond) {
  const StepTimes times = Measured(kDense, {{0, 1.0}, {4, 3.0}});
  EXPECT_GT(times.Seconds(2), 1.9);
  EXPECT_LT(times.Seconds(2), 2.1);
  EXPECT_NEAR(times.Seconds(8), 5.0, 0.01);
}

TEST(StepTimes, ForgetsTimesThatAreOld) {
  StepTimes times = Measured(kDense, {{0, 1.0}, {4, 9.0}});
  EXPECT_EQ(times.Seconds(4), 9.0);
  for (int i = 0; i < 600; ++i) times.Add(0, 1.0);
  EXPECT_LT(times.Seconds(4), 1.2);
}

TEST(StepTimes, WantsAPlainStepNowAndThen) {
  StepTimes times = Measured(kDense, {{0, 1.0}});
  for (int i = 0; i < 64; ++i) {
    EXPECT_FALSE(times.WantsPlainStep());
    times.Add(4, 1.0);
  }
  times.Add(4, 1.0);
  EXPECT_TRUE(times.WantsPlainStep());
}

TEST(ChooseDrafts, TakesNothingWhereGuessesCostWhatTheyBring) {
  // Every row costs a whole step: only certainty would pay, and then only just.
  const StepTimes times =
      Measured(kMixtral, {{0, 1.0}, {1, 2.0}, {2, 3.0}, {3, 4.0}, {4, 5.0}, {16, 17.0}});
  EXPECT_EQ(ChooseOne(Offer({0.99, 0.99, 0.99, 0.99}), times), 0);
}

TEST(ChooseDrafts, TakesAllWhereRowsAreFree) {
  const StepTimes times = Measured(kDense, {{0, 1.0}, {16, 1.0}});
  EXPECT_EQ(ChooseOne(Offer({0.5, 0.5, 0.5, 0.5}), times), 4);
}

TEST(ChooseDrafts, StopsWhereTheNextRowCostsMoreThanItsChance) {
  // Each row costs a fifth of a step. With chances of 0.9: 1.9/1.2, 2.71/1.4, 3.44/1.6, 4.1/1.8,
  // 4.69/2, 5.22/2.2, 5.7/2.4, 6.13/2.6 tokens a step, of which the last but one is best.
  const StepTimes times = Measured(kDense, {{0, 1.0}, {16, 4.2}});
  EXPECT_EQ(ChooseOne(Offer({0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9}), times), 7);
  EXPECT_EQ(ChooseOne(Offer({0.55, 0.55, 0.55, 0.55}), times), 2);
  EXPECT_EQ(ChooseOne(Offer({0.15, 0.9, 0.9, 0.9}), times), 0);
}

TEST(ChooseDrafts, GoesPastARowThatAloneDoesNotPay) {
  // The second row is dear (it touches more experts), those after it are cheap.
  const StepTimes times = Measured(kMixtral, {{0, 1.0}, {1, 2.0}, {2, 2.1}, {3, 2.2}, {4, 2.3}});
  EXPECT_EQ(ChooseOne(Offer({0.9}), times), 0);
  EXPECT_EQ(ChooseOne(Offer({0.9, 0.9, 0.9, 0.9}), times), 4);
}

TEST(ChooseDrafts, GivesRowsToTheSequenceWithTheBetterGuesses) {
  const StepTimes times = Measured(kDense, {{0, 1.0}, {4, 1.6}, {16, 20.0}}, 3);
  DraftOffer offers[] = {Offer({0.2, 0.9}), Offer({0.95, 0.95, 0.95, 0.95, 0.95}), Offer({})};
  ChooseDrafts(offers, times);
  EXPECT_EQ(offers[0].taken, 0);
  EXPECT_EQ(offers[1].taken, 4);
  EXPECT_EQ(offers[2].taken, 0);
}

TEST(PlanDraft, CountsTheDraftersTime) {
  const StepTimes times = Measured(kDense, {{0, 1.0}, {16, 1.8}});
  const DraftPlan cheap = PlanDraft(0.8, 0.02, 1, 16, times);
  const DraftPlan dear = PlanDraft(0.8, 0.3, 1, 16, times);
  EXPECT_GT(cheap.length, dear.length);
  EXPECT_GT(dear.length, 0);
  EXPECT_GT(cheap.tokens_per_s, dear.tokens_per_s);
  EXPECT_GT(dear.least_chance, cheap.least_chance);
  EXPECT_EQ(PlanDraft(0.8, 1.0, 1, 16, times).length, 0);
  EXPECT_EQ(PlanDraft(0.1, 0.2, 1, 16, times).length, 0);
}

TEST(AcceptanceRates, LearnsByEvidenceAndForgets) {
  const EvenDrafter drafter(0.5);
  AcceptanceRates rates(drafter);
  EXPECT_EQ(rates.Rate(3), 0.5);
  for (int i = 0; i < 100; ++i) rates.Add(3, true);
  EXPECT_GT(rates.Rate(3), 0.95);
  EXPECT_EQ(rates.Rate(2), 0.5);
  for (int i = 0; i < 100; ++i) rates.Add(3, false);
  EXPECT_LT(rates.Rate(3), 0.2);
  const double low = rates.Overall();
  for (int i = 0; i < 1000; ++i) rates.Fade();
  EXPECT_GT(rates.Overall(), low);
}

TEST(LossLimit, StopsGuessingThatLosesUntilTheLossIsSmall) {
  LossLimit limit;
  for (int i = 0; i < 10; ++i) limit.Add(1.0, 1.0);
  EXPECT_TRUE(limit.allows_guessing());
  limit.Add(2.0, 1.0);
  EXPECT_FALSE(limit.allows_guessing());
  int plain_steps = 0;
  while (!limit.allows_guessing()) limit.Add(1.0, 1.0), ++plain_steps;
  EXPECT_LE(plain_steps, 50);
}

TEST(LossLimit, LetsGuessesProveThemselvesOnPaper) {
  LossLimit limit;
  for (int i = 0; i < 10; ++i) limit.Add(1.0, 1.0);
  limit.Add(4.0, 1.0);
  limit.AddPaper(-5.0);
  EXPECT_FALSE(limit.allows_guessing());
  limit.AddPaper(3.0);
  EXPECT_TRUE(limit.allows_guessing());
}

/// Guessing as the engine does it, on a made-up machine, with `lied` times the prior's idea of it.
double SpeedAgainstPlain(double row_seconds, double truth, int steps) {
  const EvenDrafter drafter(0.9);
  AcceptanceRates rates(drafter);
  StepTimes times(kDense, 1, 16);
  LossLimit limit;
  double seconds = 0, tokens = 0, luck = 0;
  for (int step = 0; step < steps; ++step) {
    DraftOffer offer = Offer({0, 0, 0, 0});
    offer.chance.fill(rates.Rate(0));
    const bool guess = times.ready() && !times.WantsPlainStep() && limit.allows_guessing();
    const int32_t extra = guess ? ChooseDrafts({&offer, 1}, times) : 0;
    int32_t right = 0;
    for (; right < 4; ++right) {
      luck = std::fmod(luck + 0.6180339887, 1.0);
      const bool is_right = luck < truth;
      if (right <= extra) rates.Add(0, is_right);
      if (!is_right || right >= extra) break;
    }
    const double step_seconds = 1.0 + row_seconds * extra;
    times.Add(extra, step_seconds);
    limit.Add(step_seconds, (1.0 + right) * times.Seconds(0));
    seconds += step_seconds;
    tokens += 1.0 + right;
  }
  return tokens / seconds;
}

TEST(Guessing, IsNeverMuchSlowerWhateverTheMachineAndTheText) {
  for (const double row_seconds : {0.0, 0.05, 0.3, 0.9, 2.0}) {
    for (const double truth : {0.0, 0.1, 0.5, 0.9, 1.0}) {
      EXPECT_GT(SpeedAgainstPlain(row_seconds, truth, 3000), 0.97)
          << row_seconds << " a row, guesses right " << truth;
    }
  }
  EXPECT_GT(SpeedAgainstPlain(0.05, 0.9, 3000), 2.5);
  EXPECT_GT(SpeedAgainstPlain(0.3, 0.9, 3000), 1.5);
}

}  // namespace
}  // namespace octet
