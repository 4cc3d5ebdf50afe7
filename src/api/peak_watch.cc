#include "api/peak_watch.h"

#include <algorithm>
#include <utility>

namespace octet {

Result<PeakWatch> PeakWatch::Create(const KernelTable& kernels, Peak peak, int threads) {
  PeakWatch watch;
  watch.peak_ = peak;
  watch.pool_ = std::make_unique<ThreadPool>(threads);
  OCTET_ASSIGN(PeakLimit limit, PeakLimit::Create(kernels, *watch.pool_));
  watch.limit_ = std::make_unique<PeakLimit>(std::move(limit));
  return watch;
}

double PeakWatch::Share(double flops_per_s, double seconds) {
  constexpr double kEvery_s = 60;
  if (measured_.empty() || seconds >= last_s_ + kEvery_s) {
    last_s_ = seconds;
    const double rate = limit_->Measure(peak_, *pool_);
    measured_.insert(std::upper_bound(measured_.begin(), measured_.end(), rate), rate);
  }
  const double median = measured_[measured_.size() / 2];
  return median > 0 ? flops_per_s / median : 0;
}

}  // namespace octet
