#include "train/router_guard.h"

#include <gtest/gtest.h>

namespace octet {
namespace {

/// Two layers of 8 experts, top-2, 100 rows; the second layer's loads are given.
RouterStatistics Statistics(const std::vector<int64_t>& second, double log_sum = 2) {
  RouterStatistics s;
  s.layers = 2;
  s.n_experts = 8;
  s.rows = 100;
  s.load.assign(8, 25);
  s.load.insert(s.load.end(), second.begin(), second.end());
  s.prob_sum.assign(16, 12.5);
  s.z_sum = {400, log_sum * log_sum * 100};
  return s;
}

const std::vector<int64_t> kUneven = {60, 40, 30, 25, 20, 15, 7, 3};
const std::vector<int64_t> kCollapsed = {100, 95, 5, 0, 0, 0, 0, 0};

TEST(RouterGuard, IsSilentForUnevenButHealthyLoads) {
  RouterGuard guard;
  for (int i = 0; i < 50; ++i) EXPECT_EQ(guard.Update(Statistics(kUneven)), "");
  EXPECT_NEAR(guard.EffectiveExperts(0), 8, 1e-9);
  EXPECT_EQ(guard.DeadExperts(1), 0);
}

TEST(RouterGuard, NamesTheLayerThatCollapsesButNotForASingleBatch) {
  RouterGuard guard;
  for (int i = 0; i < 20; ++i) guard.Update(Statistics(kUneven));
  EXPECT_EQ(guard.Update(Statistics(kCollapsed)), "");
  for (int i = 0; i < 20; ++i) EXPECT_EQ(guard.Update(Statistics(kUneven)), "");
  std::string wrong;
  int updates = 0;
  while (wrong.empty() && updates < 50) {
    wrong = guard.Update(Statistics(kCollapsed));
    ++updates;
  }
  EXPECT_LT(updates, 50);
  EXPECT_NE(wrong.find("layer 1: the router is collapsing"), std::string::npos) << wrong;
}

TEST(RouterGuard, SeesLogitsDrift) {
  RouterGuard guard;
  std::string wrong;
  for (int i = 0; i < 10; ++i) wrong = guard.Update(Statistics(kUneven, 40));
  EXPECT_NE(wrong.find("drifted to 40"), std::string::npos) << wrong;
}

TEST(RouterGuard, ADenseModelHasNothingToWatch) {
  RouterGuard guard;
  EXPECT_EQ(guard.Update({}), "");
}

}  // namespace
}  // namespace octet
