#include "perf/limits.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <iterator>

namespace octet {
namespace {

/// Sums one word of every line of `bytes`, in kStreams runs at once, asking for lines kAhead bytes
/// ahead into the cache of level kLevel.
template <int kStreams, int64_t kAhead, int kLevel>
uint64_t ReadRegion(const std::byte* p, int64_t bytes) {
  const int64_t run = bytes / kStreams / 64 * 64;
  uint64_t sum = 0;
  for (int64_t i = 0; i < run; i += 64) {
    for (int s = 0; s < kStreams; ++s) {
      const std::byte* line = p + s * run + i;
      __builtin_prefetch(line + kAhead, 0, kLevel == 1 ? 3 : 2);
      sum += *reinterpret_cast<const uint64_t*>(line);
    }
  }
  return sum;
}

/// Which of these is fastest differs between machines, by up to 15 %.
constexpr ReadPattern kReadPatterns[] = {
    {"4 streams a core, 2 KiB ahead to level 2", ReadRegion<4, 2048, 2>},
    {"8 streams a core, 1 KiB ahead to level 1", ReadRegion<8, 1024, 1>},
    {"1 stream a core, 4 KiB ahead to level 2", ReadRegion<1, 4096, 2>},
    {"1 stream a core, 8 KiB ahead to level 2", ReadRegion<1, 8192, 2>},
    {"4 streams a core, 8 KiB ahead to level 2", ReadRegion<4, 8192, 2>},
};

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Rounds that take about half a millisecond now: long beside the 2 µs a task costs.
int64_t RoundsPerTask(const KernelDescriptor& kernel, std::byte* scratch) {
  constexpr double kTaskSeconds = 0.5e-3, kTrialSeconds = 0.1e-3;
  for (int64_t rounds = 1024;; rounds *= 2) {
    const auto start = std::chrono::steady_clock::now();
    kernel.run_peak({rounds, scratch});
    const double seconds = SecondsSince(start);
    if (seconds >= kTrialSeconds)
      return static_cast<int64_t>(static_cast<double>(rounds) * kTaskSeconds / seconds) + 1;
  }
}

}  // namespace

Result<ReadLimit> ReadLimit::Create(ThreadPool& pool, int64_t bytes) {
  ReadLimit limit;
  OCTET_ASSIGN(limit.region_, Buffer::Allocate(static_cast<size_t>(bytes), "read limit"));
  // Written once, so that every page exists: untouched pages would all be the one page of zeros.
  auto* words = limit.region_.as<uint64_t>();
  for (int64_t i = 0; i < bytes / 8; i += 8) words[i] = static_cast<uint64_t>(i);
  limit.ChoosePattern(pool);
  return limit;
}

void ReadLimit::ChoosePattern(ThreadPool& pool) {
  constexpr int kPasses = 3;
  constexpr size_t kPatterns = std::size(kReadPatterns);
  // Interleaved, and the middle pass of each counts: noise is not to choose.
  std::array<std::array<double, kPasses>, kPatterns> rates = {};
  for (size_t pass = 0; pass < kPasses; ++pass) {
    for (size_t i = 0; i < kPatterns; ++i) {
      pattern_ = &kReadPatterns[i];
      rates[i][pass] = Measure(pool);
    }
  }
  double best = 0;
  for (size_t i = 0; i < kPatterns; ++i) {
    std::sort(rates[i].begin(), rates[i].end());
    if (rates[i][kPasses / 2] <= best) continue;
    best = rates[i][kPasses / 2];
    pattern_ = &kReadPatterns[i];
  }
}

double ReadLimit::Measure(ThreadPool& pool) const {
  constexpr int64_t kTask = int64_t{8} << 20;
  const int64_t tasks = static_cast<int64_t>(region_.size()) / kTask;
  std::atomic<uint64_t> sum = 0;  // keeps the reads from being dropped
  const auto start = std::chrono::steady_clock::now();
  pool.ParallelFor(tasks, [&](int64_t task, int) {
    sum += pattern_->read(region_.data() + task * kTask, kTask);
  });
  return static_cast<double>(tasks * kTask) / SecondsSince(start);
}

Result<PeakLimit> PeakLimit::Create(const KernelTable& kernels, const ThreadPool& pool) {
  PeakLimit limit;
  limit.kernels_ = &kernels;
  const size_t bytes = static_cast<size_t>(pool.threads()) * kPeakScratchBytes;
  OCTET_ASSIGN(limit.scratch_, Buffer::Allocate(bytes, "arithmetic limits"));
  return limit;
}

double PeakLimit::Measure(Peak peak, ThreadPool& pool) {
  const KernelDescriptor* kernel = kernels_->peak[static_cast<size_t>(peak)];
  if (kernel == nullptr) return 0;
  constexpr int64_t kTasksPerThread = 40;
  const auto scratch = [&](int worker) { return scratch_.data() + worker * kPeakScratchBytes; };
  const int64_t rounds = RoundsPerTask(*kernel, scratch(0));
  const int64_t tasks = kTasksPerThread * pool.threads();
  const auto start = std::chrono::steady_clock::now();
  pool.ParallelFor(tasks, [&](int64_t, int worker) {
    kernel->run_peak({rounds, scratch(worker)});
  });
  return static_cast<double>(tasks * rounds) * kernel->peak_ops / SecondsSince(start);
}

const char* PeakName(Peak peak) {
  constexpr const char* kNames[kPeakCount] = {"float32 FMA",
                                              "int8 dot",
                                              "AMX int8, registers",
                                              "AMX bf16, registers",
                                              "AMX int8, 2x2 tiles loaded from level 1",
                                              "AMX bf16, 2x2 tiles loaded from level 1",
                                              "bf16 dot"};
  return kNames[static_cast<size_t>(peak)];
}

}  // namespace octet
