#include "cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <numeric>
#include <thread>
#include <vector>

namespace octet {
namespace {

TEST(UsableCores, IsAtLeastOneAndAtMostTheMachine) {
  EXPECT_GE(UsableCores(), 1);
  EXPECT_LE(UsableCores(), static_cast<int>(std::thread::hardware_concurrency()));
}

TEST(ThreadPool, DefaultsToTheUsableCores) { EXPECT_EQ(ThreadPool().threads(), UsableCores()); }

TEST(ThreadPool, CallsEveryTaskOnceWithAWorkerInRange) {
  for (const int threads : {1, 2, 5, 16}) {
    ThreadPool pool(threads);
    for (const int64_t tasks : {0, 1, 2, 3, 1000}) {
      std::vector<int> calls(tasks, 0);
      std::vector<int64_t> per_worker(threads, 0);  // unsynchronised: one slot a worker
      pool.ParallelFor(tasks, [&](int64_t task, int worker) {
        ++calls[task];
        ++per_worker.at(worker);
      });
      EXPECT_EQ(calls, std::vector<int>(tasks, 1)) << threads << " threads, " << tasks << " tasks";
      EXPECT_EQ(std::accumulate(per_worker.begin(), per_worker.end(), int64_t{0}), tasks);
    }
  }
}

TEST(ThreadPool, MakesResultsOfOneJobVisibleToTheNext) {
  ThreadPool pool(4);
  std::vector<int64_t> values(64, 0);
  for (int round = 0; round < 500; ++round) {
    // Each task reads what another task wrote in the round before.
    std::vector<int64_t> next(values.size());
    pool.ParallelFor(64, [&](int64_t task, int) { next[task] = values[(task + 7) % 64] + 1; });
    values.swap(next);
  }
  EXPECT_EQ(values, std::vector<int64_t>(64, 500));
}

TEST(ThreadPool, StaysCorrectWithManyMoreThreadsThanCores) {
  ThreadPool pool(64);
  std::vector<int64_t> values(256, 0);
  for (int round = 0; round < 300; ++round) {
    std::vector<int64_t> next(values.size());
    pool.ParallelFor(256, [&](int64_t task, int) { next[task] = values[(task + 31) % 256] + 1; });
    values.swap(next);
  }
  EXPECT_EQ(values, std::vector<int64_t>(256, 300));
}

TEST(ThreadPool, WorksWithFewerThreadsWhenAskedForTooMany) {
  ThreadPool pool(1 << 20);
  EXPECT_LE(pool.threads(), 1024);
  std::vector<int> calls(100, 0);
  pool.ParallelFor(100, [&](int64_t task, int) { ++calls[task]; });
  EXPECT_EQ(calls, std::vector<int>(100, 1));
}

TEST(ThreadPool, RunsEveryTaskWhetherPinnedOrNot) {
  for (const char* pin : {"1", "0"}) {
    ASSERT_EQ(setenv("OCTET_PIN", pin, 1), 0);
    for (const int threads : {2, 64}) {
      ThreadPool pool(threads);
      std::vector<int> calls(100, 0);
      pool.ParallelFor(100, [&](int64_t task, int) { ++calls[task]; });
      EXPECT_EQ(calls, std::vector<int>(100, 1)) << threads << " threads, OCTET_PIN=" << pin;
    }
  }
  unsetenv("OCTET_PIN");
}

TEST(ThreadPool, WakesWorkersThatSleep) {
  ThreadPool pool(3);
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // longer than any spin
    std::vector<int> calls(100, 0);
    pool.ParallelFor(100, [&](int64_t task, int) { ++calls[task]; });
    EXPECT_EQ(calls, std::vector<int>(100, 1));
  }
}

TEST(ThreadPool, WaitsForTheSlowestTaskAndSpreadsTheRest) {
  ThreadPool pool(4);
  std::vector<int> done(8, 0);
  pool.ParallelFor(8, [&](int64_t task, int) {
    // Workers get time to join, so that the caller has to sleep for them.
    std::this_thread::sleep_for(std::chrono::milliseconds(task == 0 ? 10 : 1));
    done[task] = 1;
  });
  EXPECT_EQ(done, std::vector<int>(8, 1));
}

TEST(ThreadPool, StopsWithoutEverHavingRun) {
  for (int round = 0; round < 20; ++round) ThreadPool pool(3);
}

}  // namespace
}  // namespace octet
