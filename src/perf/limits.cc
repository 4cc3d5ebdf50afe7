#include "perf/limits.h"

#include <atomic>
#include <chrono>

namespace octet {
namespace {

/// Sums one word of every line of `bytes`, in eight runs at once, asking for lines 1 KiB ahead: one
/// sequential stream without prefetch gets only 60 % of what memory gives.
uint64_t ReadRegion(const std::byte* p, int64_t bytes) {
  constexpr int kStreams = 8;
  constexpr int64_t kAhead = 1024;
  const int64_t run = bytes / kStreams / 64 * 64;
  uint64_t sum = 0;
  for (int64_t i = 0; i < run; i += 64) {
    for (int s = 0; s < kStreams; ++s) {
      const std::byte* line = p + s * run + i;
      __builtin_prefetch(line + kAhead, 0, 3);
      sum += *reinterpret_cast<const uint64_t*>(line);
    }
  }
  return sum;
}

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

Result<ReadLimit> ReadLimit::Create(int64_t bytes) {
  ReadLimit limit;
  OCTET_ASSIGN(limit.region_, Buffer::Allocate(static_cast<size_t>(bytes), "read limit"));
  // Written once, so that every page exists: untouched pages would all be the one page of zeros.
  auto* words = limit.region_.as<uint64_t>();
  for (int64_t i = 0; i < bytes / 8; i += 8) words[i] = static_cast<uint64_t>(i);
  return limit;
}

double ReadLimit::Measure(ThreadPool& pool) const {
  constexpr int64_t kTask = int64_t{8} << 20;
  const int64_t tasks = static_cast<int64_t>(region_.size()) / kTask;
  std::atomic<uint64_t> sum = 0;  // keeps the reads from being dropped
  const auto start = std::chrono::steady_clock::now();
  pool.ParallelFor(
      tasks, [&](int64_t task, int) { sum += ReadRegion(region_.data() + task * kTask, kTask); });
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
                                              "AMX bf16, 2x2 tiles loaded from level 1"};
  return kNames[static_cast<size_t>(peak)];
}

}  // namespace octet
