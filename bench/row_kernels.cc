#include "row_kernels.h"

#include <benchmark/benchmark.h>

#include <vector>

#include "base/buffer.h"
#include "base/rng.h"
#include "cpu/isa.h"
#include "kernels/registry.h"

namespace octet {
namespace {

/// One row of Mixtral's feed-forward width.
void BM_Quantize(benchmark::State& state, const KernelDescriptor* kernel) {
  constexpr int64_t kCols = 14336;
  std::vector<float> x(kCols);
  for (int64_t i = 0; i < kCols; ++i)
    x[static_cast<size_t>(i)] = static_cast<float>(RandomNormal(3, 1, static_cast<uint64_t>(i)));
  constexpr int64_t kBlocks = kCols / kActivationBlock;
  Buffer out = *Buffer::Allocate(kBlocks * sizeof(ActivationBlock), "activations");
  auto* blocks = out.as<ActivationBlock>();
  for (auto _ : state) {
    kernel->quantize({.x = x.data(), .cols = kCols, .out = blocks, .out_stride = 1});
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kCols);
}

void BM_Peak(benchmark::State& state, const KernelDescriptor* kernel) {
  constexpr int64_t kRounds = 4096;
  Buffer scratch = *Buffer::Allocate(kPeakScratchBytes, "peak");
  for (auto _ : state) kernel->run_peak({.rounds = kRounds, .scratch = scratch.data()});
  const double ops = static_cast<double>(kRounds) * kernel->peak_ops;
  state.counters["GOPS"] = benchmark::Counter(
      ops * 1e-9, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

}  // namespace

void RegisterRowKernels() {
  for (const KernelDescriptor* kernel : AllKernels()) {
    if ((kernel->isa & ~DetectIsa()) != 0) continue;
    if (kernel->op == KernelOp::kQuantize)
      benchmark::RegisterBenchmark(kernel->name, BM_Quantize, kernel)->UseRealTime();
    if (kernel->op == KernelOp::kPeak)
      benchmark::RegisterBenchmark(kernel->name, BM_Peak, kernel)->UseRealTime();
  }
}

}  // namespace octet
