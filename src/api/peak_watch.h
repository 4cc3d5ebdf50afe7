// What the machine does at most, measured now and then beside a long run.
#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "cpu/thread_pool.h"
#include "perf/limits.h"

namespace octet {

/// Measures for about 20 ms a minute, with threads of its own; `kernels` must outlive it.
class PeakWatch {
 public:
  static Result<PeakWatch> Create(const KernelTable& kernels, Peak peak, int threads);

  /// `flops_per_s` as a part of the median of what was measured; `seconds` of the run so far.
  double Share(double flops_per_s, double seconds);

 private:
  PeakWatch() = default;
  Peak peak_ = Peak::kFmaF32;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<PeakLimit> limit_;
  std::vector<double> measured_;  // in ascending order
  double last_s_ = 0;
};

}  // namespace octet
