// Every kernel of the registry but attention's: matrix products at Mixtral's widths, beside what
// the machine's memory can deliver in the same run, and the kernels of single rows. Useful flags:
// --benchmark_filter=REGEX
// --benchmark_enable_random_interleaving=true --benchmark_repetitions=5
#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/check.h"
#include "base/rng.h"
#include "cpu/isa.h"
#include "cpu/thread_pool.h"
#include "kernels/registry.h"
#include "quant/panel16.h"
#include "row_kernels.h"
#include "tensor/weight_matrix.h"

namespace octet {
namespace {

// Larger than any share of a last-level cache this process can hold on to.
constexpr int64_t kPoolBytes = int64_t{3} << 29;

/// Bytes that look like weights enough: no field is an infinity or a huge scale.
const std::byte* WeightPool() {
  static const Buffer pool = [] {
    Buffer buffer = *Buffer::Allocate(kPoolBytes, "benchmark weights");
    auto* words = buffer.as<uint64_t>();
    for (int64_t i = 0; i < kPoolBytes / 8; ++i) {
      words[i] = (static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15ull) & 0x3f3f3f3f3f3f3f3full;
    }
    return buffer;
  }();
  return pool.data();
}

ThreadPool& Pool(int threads) {
  static ThreadPool one(1), all(0);
  return threads == 1 ? one : all;
}

/// Sums the region in `streams` runs at once, asking for lines 1 KiB ahead.
uint64_t ReadRegion(const std::byte* p, int64_t bytes, int streams) {
  const int64_t run = bytes / streams / 256 * 256;
  uint64_t sum = 0;
  for (int64_t i = 0; i < run; i += 64) {
    for (int s = 0; s < streams; ++s) {
      const std::byte* line = p + s * run + i;
      __builtin_prefetch(line + 1024, 0, 3);
      sum += *reinterpret_cast<const uint64_t*>(line);
    }
  }
  return sum;
}

void BM_ReadLimit(benchmark::State& state, int threads) {
  const std::byte* pool = WeightPool();
  constexpr int64_t kTask = int64_t{8} << 20;
  for (auto _ : state) {
    Pool(threads).ParallelFor(kPoolBytes / kTask, [&](int64_t task, int) {
      benchmark::DoNotOptimize(ReadRegion(pool + task * kTask, kTask, 8));
    });
  }
  state.SetBytesProcessed(state.iterations() * kPoolBytes);
}

struct Shape {
  int64_t rows, cols, tokens;
};

struct Problem {
  const KernelDescriptor* kernel;
  Format format;
  Shape shape;
  int threads;
};

int64_t MatrixBytes(const Problem& p) {
  WeightMatrix matrix;
  matrix.format = p.format;
  matrix.layout = p.kernel->layout;
  matrix.rows = p.shape.rows;
  matrix.cols = p.shape.cols;
  return matrix.bytes();
}

void BM_Matmul(benchmark::State& state, const Problem& p) {
  const Shape& shape = p.shape;
  const int64_t bytes = MatrixBytes(p), matrices = std::max<int64_t>(kPoolBytes / bytes, 1);
  CHECK(bytes <= kPoolBytes);
  ThreadPool& pool = Pool(p.threads);
  const int64_t tile_rows = std::max<int64_t>(int64_t{256} * 1024 / (bytes / shape.rows), 1);
  const int64_t tile = (tile_rows + 15) / 16 * 16;
  const int64_t steps = shape.cols / kPanelStep;
  std::vector<float> x(shape.tokens * shape.cols, 0.25f), y(shape.tokens * shape.rows);
  Buffer xq = *Buffer::Allocate(shape.tokens * steps * sizeof(ActivationBlock), "activations");
  auto* blocks = xq.as<ActivationBlock>();
  for (int64_t i = 0; i < shape.tokens * steps; ++i) {
    if (ReadsScalesPer32(p.format)) {
      QuantizeActivations32(x.data(), kActivationBlock, blocks + i);
    } else {
      QuantizeActivations(x.data(), kActivationBlock, blocks + i);
    }
  }
  Buffer scratch = *Buffer::Allocate(
      static_cast<size_t>((p.kernel->scratch_floats + 16) * 4 * pool.threads()), "scratch");
  const int64_t scratch_floats = (p.kernel->scratch_floats + 15) / 16 * 16;
  const Panel16* panel = FindPanel16(p.format);
  int64_t matrix = 0;
  for (auto _ : state) {
    const std::byte* w = WeightPool() + matrix * bytes / 64 * 64;
    matrix = (matrix + 1) % matrices;
    pool.ParallelFor((shape.rows + tile - 1) / tile, [&](int64_t task, int worker) {
      const int64_t row = task * tile;
      p.kernel->matmul({.w = w + bytes / shape.rows * row,
                        .w_row_bytes = bytes / shape.rows,
                        .rows = std::min(tile, shape.rows - row),
                        .cols = shape.cols,
                        .x = x.data(),
                        .x_stride = shape.cols,
                        .y = y.data() + row,
                        .y_stride = shape.rows,
                        .tokens = shape.tokens,
                        .decode = Info(p.format).decode,
                        .scratch = scratch.as<float>() + worker * scratch_floats,
                        .xq = blocks,
                        .xq_tokens = shape.tokens,
                        .pack = panel == nullptr ? nullptr : panel->pack,
                        .dot = FindIntegerDot(p.format)});
    });
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * bytes);
  const double flops = 2.0 * static_cast<double>(shape.rows * shape.cols * shape.tokens);
  state.counters["GFLOPS"] = benchmark::Counter(
      flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

void Register() {
  for (const int threads : {1, UsableCores()}) {
    benchmark::RegisterBenchmark(("read_limit/threads:" + std::to_string(threads)).c_str(),
                                 BM_ReadLimit, threads)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
    if (UsableCores() == 1) break;
  }
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op != KernelOp::kMatmul || (kernel->isa & ~DetectIsa()) != 0) continue;
    for (int f = 0; f < kFormatCount; ++f) {
      const auto format = static_cast<Format>(f);
      if (kernel->any_format ? format != Format::kQ4_K : kernel->format != format) continue;
      for (const int64_t tokens : {1, 4, 16, 128, 512}) {
        for (const int threads : {1, UsableCores()}) {
          const Problem problem{kernel, format, {14336, 4096, tokens}, threads};
          const std::string name =
              std::string(kernel->name) + "/" + std::string(Info(format).name) +
              "/tokens:" + std::to_string(tokens) + "/threads:" + std::to_string(threads);
          benchmark::RegisterBenchmark(name.c_str(), BM_Matmul, problem)
              ->UseRealTime()
              ->Unit(benchmark::kMillisecond);
        }
      }
    }
  }
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) {
  octet::Register();
  octet::RegisterRowKernels();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
