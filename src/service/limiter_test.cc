#include "service/limiter.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>

namespace octet {
namespace {

constexpr int64_t kStart = 1'800'000'000'123;

TEST(SlidingSum, NeverCountsLessThanTheLastMinute) {
  std::mt19937_64 random(7);
  SlidingSum sum(1000, 60);
  std::deque<std::pair<int64_t, int64_t>> all;
  int64_t now = kStart;
  for (int i = 0; i < 5000; ++i) {
    now += static_cast<int64_t>(random() % 2000);
    const auto amount = static_cast<int64_t>(random() % 10);
    sum.Add(now, amount);
    all.emplace_back(now, amount);
    int64_t minute = 0, more = 0;
    for (const auto& [at, n] : all) {
      if (at > now - 60'000) minute += n;
      if (at > now - 61'000) more += n;
    }
    ASSERT_GE(sum.Total(now), minute);
    ASSERT_LE(sum.Total(now), more);
    const int64_t wait = sum.WaitFor(now, 100);
    if (wait > 0) {
      EXPECT_GT(sum.Total(now), 100);
      SlidingSum later = sum;
      EXPECT_LE(later.Total(now + wait), 100);
      SlidingSum earlier = sum;
      EXPECT_GT(earlier.Total(now + wait - 1), 100);
    }
  }
}

TEST(Limiter, CountsRequestsAndWhatTheyReserve) {
  Limiter limiter;
  const KeyLimits limits{3, 1000, 0, 0};
  LimitRefusal refusal;
  EXPECT_TRUE(limiter.Reserve(1, limits, 600, kStart, refusal));
  EXPECT_FALSE(limiter.Reserve(1, limits, 600, kStart + 10, refusal));
  EXPECT_FALSE(refusal.never);
  EXPECT_GT(refusal.retry_ms, 59'000);
  EXPECT_LE(refusal.retry_ms, 61'000);
  EXPECT_TRUE(limiter.Reserve(2, limits, 600, kStart + 10, refusal)) << "keys are apart";
  limiter.GiveBack(1, kStart, 500, false);
  EXPECT_EQ(limiter.TokensLeft(1, limits, kStart + 20), 900);
  EXPECT_TRUE(limiter.Reserve(1, limits, 600, kStart + 20, refusal));
  EXPECT_TRUE(limiter.Reserve(1, limits, 10, kStart + 30, refusal));
  EXPECT_FALSE(limiter.Reserve(1, limits, 10, kStart + 40, refusal)) << "the fourth request";
  limiter.GiveBack(1, kStart + 30, 10, true);
  EXPECT_TRUE(limiter.Reserve(1, limits, 10, kStart + 50, refusal));
  EXPECT_TRUE(limiter.Reserve(1, limits, 1000, kStart + 62'000, refusal)) << "a minute later";
}

TEST(Limiter, TellsWhatCanNeverBe) {
  Limiter limiter;
  LimitRefusal refusal;
  EXPECT_FALSE(limiter.Reserve(1, {0, 0, 0, 100}, 101, kStart, refusal));
  EXPECT_TRUE(refusal.never);
  EXPECT_NE(refusal.message.find("101 tokens"), std::string::npos);
}

TEST(Limiter, RemembersADay) {
  Limiter limiter;
  const KeyLimits limits{0, 0, 2, 0};
  LimitRefusal refusal;
  limiter.AddDay(1, kStart - 86'000'000, 1, 5);
  EXPECT_TRUE(limiter.Reserve(1, limits, 5, kStart, refusal));
  EXPECT_FALSE(limiter.Reserve(1, limits, 5, kStart, refusal));
  const LimitStates states = limiter.States(1, limits, kStart);
  EXPECT_STREQ(states[2].name, "requests-day");
  EXPECT_EQ(states[2].remaining, 0);
  EXPECT_TRUE(limiter.Reserve(1, limits, 5, kStart + refusal.retry_ms, refusal));
}

}  // namespace
}  // namespace octet
