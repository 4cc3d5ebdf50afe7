#include "ops/dropout.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace octet {
namespace {

std::vector<float> Ones(const Dropout& dropout, DropoutSite site, int64_t row, int64_t n) {
  std::vector<float> x(static_cast<size_t>(n), 1.0f);
  DropRow(dropout, site, row, x.data(), n);
  return x;
}

TEST(Dropout, LeavesOutItsShareAndKeepsTheMean) {
  constexpr int64_t kRows = 64, kCols = 1003;
  for (const double rate : {0.1, 0.5, 0.9}) {
    double zeros = 0, sum = 0;
    for (int64_t row = 0; row < kRows; ++row) {
      for (const float x : Ones({rate, 3}, {2, Branch::kAttention}, row, kCols)) {
        zeros += x == 0 ? 1 : 0;
        sum += x;
        if (x != 0) {
          EXPECT_NEAR(x, 1 / (1 - rate), 1e-4 / (1 - rate));
        }
      }
    }
    constexpr double kAll = kRows * kCols;
    const double deviation = std::sqrt(rate * (1 - rate) / kAll);
    EXPECT_NEAR(zeros / kAll, rate, 4 * deviation);
    EXPECT_NEAR(sum / kAll, 1, 4 * deviation / (1 - rate));
  }
}

TEST(Dropout, IsTheSameAgainAndAnotherElsewhere) {
  const Dropout dropout{0.5, 3};
  const DropoutSite site{2, Branch::kAttention};
  const std::vector<float> x = Ones(dropout, site, 5, 256);
  EXPECT_EQ(Ones(dropout, site, 5, 256), x);
  EXPECT_NE(Ones({0.5, 4}, site, 5, 256), x);
  EXPECT_NE(Ones(dropout, {3, Branch::kAttention}, 5, 256), x);
  EXPECT_NE(Ones(dropout, {2, Branch::kFeedForward}, 5, 256), x);
  EXPECT_NE(Ones(dropout, site, 6, 256), x);
}

TEST(Dropout, OfNothingChangesNothing) {
  EXPECT_EQ(Ones({0, 3}, {0, Branch::kAttention}, 0, 7), std::vector<float>(7, 1.0f));
}

}  // namespace
}  // namespace octet
