#include "api/bench_limits.h"

#include <algorithm>
#include <utility>

#include "api/guard.h"
#include "cpu/isa.h"

namespace octet {
namespace {

BenchLimit Summarise(std::string name, const char* unit, const std::vector<double>& passes) {
  const auto [least, most] = std::minmax_element(passes.begin(), passes.end());
  return {std::move(name), unit, Median(passes), *least, *most};
}

}  // namespace

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

Result<LimitPasses> LimitPasses::Create(const KernelTable& kernels, ThreadPool& pool,
                                        int64_t read_bytes) {
  OCTET_ASSIGN(ReadLimit read, ReadLimit::Create(pool, read_bytes));
  OCTET_ASSIGN(PeakLimit peak, PeakLimit::Create(kernels, pool));
  return LimitPasses(pool, std::move(read), std::move(peak));
}

void LimitPasses::MeasureRead() { reads_.push_back(read_.Measure(*pool_)); }

void LimitPasses::MeasurePeaks() {
  for (size_t p = 0; p < kPeakCount; ++p)
    peaks_[p].push_back(peak_.Measure(static_cast<Peak>(p), *pool_));
}

double LimitPasses::MedianOf(Peak peak) const {
  const std::vector<double>& passes = peaks_[static_cast<size_t>(peak)];
  return passes.empty() ? 0 : Median(passes);
}

MachineRates LimitPasses::rates() const {
  MachineRates rates;
  rates.read = reads_.empty() ? 0 : Median(reads_);
  rates.fma_f32 = MedianOf(Peak::kFmaF32);
  rates.dot_int8 = MedianOf(Peak::kDotInt8);
  rates.amx_int8 = MedianOf(Peak::kAmxInt8);
  rates.amx_bf16 = MedianOf(Peak::kAmxBf16);
  return rates;
}

std::vector<BenchLimit> LimitPasses::Report() const {
  std::vector<BenchLimit> limits;
  if (!reads_.empty()) limits.push_back(Summarise("memory read", "B/s", reads_));
  for (size_t p = 0; p < kPeakCount; ++p) {
    const auto peak = static_cast<Peak>(p);
    if (MedianOf(peak) > 0) limits.push_back(Summarise(PeakName(peak), "op/s", peaks_[p]));
  }
  return limits;
}

Result<BenchReport> MeasureLimits(const BenchOptions& options) {
  return Guarded([&]() -> Result<BenchReport> {
    OCTET_ASSIGN(const uint32_t isa, SelectIsaFromEnvironment());
    const KernelTable kernels = SelectKernels(isa);
    ThreadPool pool(options.threads);
    OCTET_ASSIGN(LimitPasses passes, LimitPasses::Create(kernels, pool, int64_t{1} << 30));
    BenchReport report;
    report.isa = IsaNames(isa);
    report.threads = pool.threads();
    report.repetitions = std::max(1, options.repetitions);
    constexpr int kPassesPerRound = 4;  // of a tenth of a second each
    for (int i = 0; i < report.repetitions * kPassesPerRound; ++i) {
      passes.MeasureRead();
      passes.MeasurePeaks();
    }
    report.limits = passes.Report();
    return report;
  });
}

}  // namespace octet
