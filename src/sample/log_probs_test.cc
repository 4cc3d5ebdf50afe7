#include "sample/log_probs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace octet {
namespace {

TEST(LogProbs, SumToOneOverTheWholeVocabulary) {
  std::vector<float> logits;
  for (int i = 0; i < 300; ++i) logits.push_back(static_cast<float>((i * 37) % 300) * 0.1f);
  std::vector<TokenLogProb> all;
  TopLogProbs(logits, LogSumExp(logits), 300, all);
  ASSERT_EQ(all.size(), 300u);
  double sum = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    sum += std::exp(all[i].logprob);
    if (i > 0) {
      EXPECT_GT(all[i - 1].logprob, all[i].logprob);
    }
  }
  EXPECT_NEAR(sum, 1, 300 * 0x1p-22);
}

TEST(LogProbs, GivesTheBestFirstAndLowerIdsFirstAmongEquals) {
  const std::vector<float> logits = {0, 2, std::nanf(""), 2, 1};
  std::vector<TokenLogProb> top;
  TopLogProbs(logits, LogSumExp(logits), 3, top);
  ASSERT_EQ(top.size(), 3u);
  EXPECT_EQ(top[0].id, 1);
  EXPECT_EQ(top[1].id, 3);
  EXPECT_EQ(top[2].id, 4);
  EXPECT_NEAR(top[0].logprob, 2 - std::log(1 + 2 * std::exp(2.0) + std::exp(1.0)), 1e-6);
}

TEST(LogProbs, StaysFiniteForHugeLogits) {
  EXPECT_FLOAT_EQ(static_cast<float>(LogSumExp(std::vector<float>{1e30f, 1e30f})), 1e30f);
  EXPECT_EQ(LogSumExp(std::vector<float>{-std::numeric_limits<float>::infinity()}),
            -std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace octet
