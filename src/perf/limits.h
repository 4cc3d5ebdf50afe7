// What this machine can do at most, measured: what every speed is a share of.
#pragma once

#include <cstdint>

#include "base/buffer.h"
#include "base/result.h"
#include "cpu/thread_pool.h"
#include "kernels/registry.h"

namespace octet {

/// A way to walk memory: streams at once, and how far ahead they ask for lines. One sequential
/// stream without asking gets only 60 to 90 % of what memory gives.
struct ReadPattern {
  const char* name;  // "4 streams a core, 2 KiB ahead to level 2"
  uint64_t (*read)(const std::byte*, int64_t bytes);
};

/// Reads memory with every thread, in the pattern of several that is the fastest here. One object
/// per run: it owns the region, larger than the caches.
class ReadLimit {
 public:
  /// Tries the patterns, about half a second.
  static Result<ReadLimit> Create(ThreadPool& pool, int64_t bytes = int64_t{1} << 30);

  /// One pass; bytes per second.
  double Measure(ThreadPool& pool) const;
  const char* pattern() const { return pattern_->name; }

 private:
  void ChoosePattern(ThreadPool& pool);

  Buffer region_;
  const ReadPattern* pattern_ = nullptr;
};

/// Runs one kind of arithmetic on every thread at once; one object per run owns what it reads.
class PeakLimit {
 public:
  static Result<PeakLimit> Create(const KernelTable& kernels, const ThreadPool& pool);

  /// One pass of about 20 ms; operations per second of all threads together (a multiply-add is
  /// two), 0 where the instruction set is missing. AMX moves by a factor of two within a second
  /// where a neighbour shares the core, so interleave passes with what is measured and take
  /// medians.
  double Measure(Peak peak, ThreadPool& pool);

 private:
  const KernelTable* kernels_ = nullptr;
  Buffer scratch_;  // [threads][kPeakScratchBytes]
};

/// "AMX bf16, registers", for reports.
const char* PeakName(Peak peak);

}  // namespace octet
