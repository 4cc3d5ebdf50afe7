#include "cpu/placement.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <set>
#include <thread>
#include <vector>

#include "cpu/thread_pool.h"

namespace octet {
namespace {

using Places = std::vector<std::vector<int>>;

TEST(Placement, GivesEveryWorkerACoreOfItsOwn) {
  // Two nodes of two cores of two threads.
  EXPECT_EQ(PlaceWorkers(4, "node:2 core:2 pu:2"), (Places{{0, 1}, {2, 3}, {4, 5}, {6, 7}}));
}

TEST(Placement, SpreadsFewWorkersOverTheNodes) {
  EXPECT_EQ(PlaceWorkers(2, "node:2 core:4 pu:1"), (Places{{0}, {4}}));
  EXPECT_EQ(PlaceWorkers(3, "node:2 core:3 pu:1"), (Places{{0}, {2}, {4}}));
  EXPECT_EQ(PlaceWorkers(64, "node:4 core:16 pu:2").size(), 64u);
}

TEST(Placement, LeavesMoreWorkersThanCoresAlone) {
  EXPECT_TRUE(PlaceWorkers(5, "node:2 core:2 pu:2").empty());
  EXPECT_TRUE(PlaceWorkers(0, "node:2 core:2 pu:2").empty());
  EXPECT_TRUE(PlaceWorkers(1, "no such machine").empty());
}

TEST(Placement, OfThisMachineIsWithinTheAffinityMask) {
  const Places places = PlaceWorkers(UsableCores());
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  std::set<int> seen;
  for (const auto& processors : places) {
    for (const int cpu : processors) {
      EXPECT_TRUE(CPU_ISSET(cpu, &allowed));
      EXPECT_TRUE(seen.insert(cpu).second) << cpu << " twice";
    }
  }
}

TEST(Placement, APinnedThreadKeepsToItsProcessors) {
  const Places places = PlaceWorkers(UsableCores());
  if (places.empty()) GTEST_SKIP() << "the system does not say which cores there are";
  const std::vector<int>& wanted = places.back();
  std::thread([&] {
    PinThisThread(wanted);
    cpu_set_t now;
    ASSERT_EQ(sched_getaffinity(0, sizeof(now), &now), 0);
    EXPECT_EQ(CPU_COUNT(&now), static_cast<int>(wanted.size()));
    EXPECT_TRUE(CPU_ISSET(wanted[0], &now));
  }).join();
}

}  // namespace
}  // namespace octet
