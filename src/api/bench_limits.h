// Passes of the machine's limits, taken between the steps that are measured.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "octet/bench.h"
#include "perf/limits.h"
#include "perf/measure.h"

namespace octet {

/// The middle value; of an even number, the mean of the two in the middle. At least one.
double Median(std::vector<double> values);

class LimitPasses {
 public:
  /// `read_bytes` is how much memory a pass reads: more than the caches hold.
  static Result<LimitPasses> Create(const KernelTable& kernels, ThreadPool& pool,
                                    int64_t read_bytes);

  void MeasureRead();
  void MeasurePeaks();
  double LastRead() const { return reads_.back(); }

  /// Medians over all passes so far.
  MachineRates rates() const;
  double MedianOf(Peak peak) const;
  std::vector<BenchLimit> Report() const;

 private:
  LimitPasses(ThreadPool& pool, ReadLimit read, PeakLimit peak)
      : pool_(&pool), read_(std::move(read)), peak_(std::move(peak)) {}

  ThreadPool* pool_;
  ReadLimit read_;
  PeakLimit peak_;
  std::vector<double> reads_;
  std::array<std::vector<double>, kPeakCount> peaks_;
};

}  // namespace octet
