#include "octet/bench.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <utility>

#include "api/bench_limits.h"
#include "api/bench_model.h"
#include "api/guard.h"
#include "api/machine_memory.h"
#include "api/runtime.h"
#include "cpu/isa.h"
#include "model/packing.h"
#include "octet/progress.h"
#include "perf/measure.h"

namespace octet {
namespace {

constexpr int64_t kPromptAtDepth = 512;  // tokens: the chunk in which prompts are computed
/// For the program itself and scratch of a step.
constexpr int64_t kHeadroom = int64_t{512} << 20;

/// Memory that the read limit is measured on: more than caches hold, but not what keeps a large
/// model's file from staying in memory.
int64_t ReadLimitBytes(int64_t weight_bytes) {
  const bool is_large = weight_bytes > static_cast<int64_t>(MachineMemory() / 2);
  return int64_t{is_large ? 256 : 1024} << 20;
}

/// What is measured, its shape, and its times so far.
struct Measurement {
  BenchKind kind;
  std::string name;
  StepShape shape;
  std::vector<double> seconds = {};
  std::vector<double> read_limits = {};  // measured last before each
};

double Seconds(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int64_t PeakMemoryBytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

Result<std::vector<Measurement>> ListMeasurements(const BenchOptions& options) {
  std::vector<Measurement> list;
  for (const int64_t n : options.prompts)
    list.push_back({BenchKind::kPrompt, fmt::format("prompt {}", n), {1, n, 0}});
  for (const int64_t n : options.prompt_depths) {
    list.push_back({BenchKind::kPrompt,
                    fmt::format("prompt {} at {}", kPromptAtDepth, n),
                    {1, kPromptAtDepth, n}});
  }
  for (const int64_t n : options.depths)
    list.push_back({BenchKind::kDecode, fmt::format("decode at {}", n), {1, 1, n}});
  for (const int64_t n : options.batches)
    list.push_back({BenchKind::kBatch,
                    fmt::format("batch {}", n),
                    {n, 1, options.batch_depth, options.batch_tokens}});
  std::erase_if(list, [](const Measurement& m) {
    return m.shape.rows == 0 || m.shape.batch == 0 || m.shape.depth == -1;
  });
  for (const Measurement& m : list) {
    constexpr int64_t kMost = int64_t{1} << 24;
    const StepShape& s = m.shape;
    if (s.batch < 1 || s.batch > 4096 || s.rows < 1 || s.depth < 0 || s.text_tokens < 0 ||
        s.depth > kMost || s.text_tokens > kMost || s.room() > kMost)
      return Err(ErrorCode::kInvalidArgument, "bench: {} cannot be measured", m.name);
  }
  if (list.empty()) return Err(ErrorCode::kInvalidArgument, "bench: nothing to measure");
  return list;
}

std::vector<StepShape> ShapesOf(const std::vector<Measurement>& list) {
  std::vector<StepShape> shapes;
  for (const Measurement& m : list) shapes.push_back(m.shape);
  return shapes;
}

/// Leaves out the deepest until keys and values fit beside the weights.
void DropWhatDoesNotFit(const ModelConfig& config, int64_t weight_bytes, Format kv,
                        std::vector<Measurement>& list, BenchReport& report) {
  const auto memory = static_cast<int64_t>(MachineMemory());
  while (!list.empty()) {
    const int64_t kv_bytes = StepBench::KvBytes(config, ShapesOf(list), kv);
    if (weight_bytes + kv_bytes + ReadLimitBytes(weight_bytes) + kHeadroom <= memory) return;
    const auto deepest = std::max_element(
        list.begin(), list.end(),
        [](const Measurement& a, const Measurement& b) { return a.shape.room() < b.shape.room(); });
    if (deepest->shape.room() <= 64) return;  // a page: nothing to gain
    report.notes.push_back(fmt::format(
        "{} is left out: keys and values of {} do not fit beside {} of weights in {} of memory",
        deepest->name, HumanBytes(static_cast<uint64_t>(kv_bytes)),
        HumanBytes(static_cast<uint64_t>(weight_bytes)),
        HumanBytes(static_cast<uint64_t>(memory))));
    list.erase(deepest);
  }
}

/// Bytes of weights that will be in memory, mapped ones too.
int64_t WeightBytes(const Checkpoint& checkpoint) {
  int64_t bytes = 0;
  for (const TensorInfo& info : checkpoint.tensors->tensors())
    bytes += static_cast<int64_t>(info.bytes);
  return bytes;
}

void Describe(const Runtime& runtime, BenchReport& report) {
  const Model& model = *runtime.model;
  const ParameterCount count = CountParameters(model.config());
  report.model = model.checkpoint().path.string();
  report.isa = IsaNames(runtime.kernels.isa);
  report.layout = model.is_tiled() ? "packed" : "as in the file";
  report.threads = runtime.pool->threads();
  report.layers = model.config().n_layers;
  report.parameters = count.total;
  report.active_parameters = count.active;
  report.weight_bytes = model.weight_bytes();
}

/// Steps differ by a factor of 1000 in length: of short ones, the average.
double Sample(StepBench& bench, size_t i, double sample_s, Context& context) {
  double total = 0;
  int n = 0;
  while (n == 0 || total < sample_s) {
    total += bench.Step(i, context);
    ++n;
  }
  return total / n;
}

void RunRounds(const BenchOptions& options, StepBench& bench, LimitPasses& limits, Context& context,
               std::vector<Measurement>& list, const BenchProgress& progress) {
  const auto total = static_cast<int64_t>(list.size()) * options.repetitions;
  int64_t done = 0;
  for (int round = 0; round < options.repetitions; ++round) {
    limits.MeasurePeaks();
    for (size_t i = 0; i < list.size(); ++i) {
      if (progress) progress(list[i].name, done++, total);
      limits.MeasureRead();
      list[i].read_limits.push_back(limits.LastRead());
      list[i].seconds.push_back(Sample(bench, i, options.sample_s, context));
      if (list[i].kind == BenchKind::kPrompt) limits.MeasurePeaks();
    }
    limits.MeasureRead();
  }
}

/// Where the time of a step goes, taken in steps of their own: looking at the clock costs a little.
void AddProfile(const BenchOptions& options, StepBench& bench, size_t i, Context& context,
                BenchFigure& figure) {
  Profile profile;
  context.profile = &profile;
  double total = 0;
  int steps = 0;
  while (steps == 0 || total < options.sample_s * options.repetitions) {
    total += bench.Step(i, context);
    ++steps;
  }
  context.profile = nullptr;
  const double seconds = profile.seconds();
  for (int p = 0; p < kStepPartCount; ++p) {
    const auto part = static_cast<StepPart>(p);
    const Profile::Sums& sums = profile.of(part);
    if (sums.seconds > 0) {
      figure.parts.push_back({StepPartName(part), sums.seconds / steps, sums.seconds / seconds,
                              (sums.seconds - sums.kernel_s) / seconds});
    }
  }
  figure.outside_share = (seconds - profile.kernel_seconds()) / seconds;
}

/// What a prompt's speed is a share of: bf16 tiles, the arithmetic that a model's precision asks
/// for; without them what its products are computed in.
Peak PeakOf(const LimitPasses& limits, const StepCost& cost) {
  if (limits.MedianOf(Peak::kAmxBf16) > 0) return Peak::kAmxBf16;
  const bool int8 = 2 * cost.int8_flops > cost.flops && limits.MedianOf(Peak::kDotInt8) > 0;
  return int8 ? Peak::kDotInt8 : Peak::kFmaF32;
}

void AddPeakShares(const LimitPasses& limits, const StepCost& cost, BenchFigure& figure) {
  const double peak = limits.MedianOf(PeakOf(limits, cost));
  const double loads = limits.MedianOf(Peak::kAmxBf16Loads);
  if (peak > 0) {
    figure.peak = PeakName(PeakOf(limits, cost));
    figure.peak_share = figure.flops_per_s / peak;
  }
  if (loads > 0) figure.loaded_peak_share = figure.flops_per_s / loads;
}

BenchFigure Summarise(const Measurement& m, const StepCost& cost, const ModelConfig& config,
                      const MachineRates& rates) {
  BenchFigure f;
  f.kind = m.kind;
  f.name = m.name;
  f.depth = m.shape.depth;
  f.batch = m.shape.batch;
  f.tokens = m.shape.tokens();
  f.median_s = Median(m.seconds);
  f.min_s = *std::min_element(m.seconds.begin(), m.seconds.end());
  f.max_s = *std::max_element(m.seconds.begin(), m.seconds.end());
  const auto tokens = static_cast<double>(f.tokens);
  f.tokens_per_s = tokens / f.median_s;
  f.text_tokens = m.shape.text_tokens;
  f.weight_bytes = std::llround(cost.weight_bytes);
  f.kv_bytes = std::llround(cost.kv_bytes);
  f.experts_per_layer = cost.experts_touched / static_cast<double>(config.n_layers);
  f.read_bytes_per_s = (cost.weight_bytes + cost.kv_bytes) / f.median_s;
  f.read_share = f.read_bytes_per_s / rates.read;
  f.flops = cost.flops;
  f.flops_per_s = cost.flops / f.median_s;
  const double least_s = LeastSeconds(cost, rates);
  f.allowed_tokens_per_s = tokens / least_s;
  f.allowed_share = least_s / f.median_s;
  return f;
}

/// What depth costs, round by round: both times and the limit are of the same moment.
void AddKvCosts(const std::vector<Measurement>& list, std::vector<BenchFigure>& figures) {
  const auto at_0 = std::find_if(list.begin(), list.end(), [](const Measurement& m) {
    return m.kind == BenchKind::kDecode && m.shape.depth == 0;
  });
  if (at_0 == list.end()) return;
  for (size_t i = 0; i < list.size(); ++i) {
    const Measurement& m = list[i];
    if (m.kind != BenchKind::kDecode || m.shape.depth == 0) continue;
    std::vector<double> costs;
    for (size_t round = 0; round < m.seconds.size(); ++round) {
      const double read_s = static_cast<double>(figures[i].kv_bytes) / m.read_limits[round];
      costs.push_back((m.seconds[round] - at_0->seconds[round]) / read_s);
    }
    figures[i].kv_cost = Median(costs);
  }
}

/// Weights that are made, not mapped, must all be in memory.
Status CheckSyntheticFits(const Checkpoint& checkpoint) {
  const auto bytes = static_cast<uint64_t>(WeightBytes(checkpoint));
  if (bytes <= MachineMemory()) return {};
  return Err(ErrorCode::kOutOfMemory,
             "a synthetic model of {} in {} of memory; take fewer --layers or a smaller --type",
             HumanBytes(bytes), HumanBytes(MachineMemory()));
}

Result<BenchReport> Run(const BenchOptions& options, const BenchProgress& progress) {
  if (options.repetitions < 1)
    return Err(ErrorCode::kInvalidArgument, "bench: {} repetitions, expected 1 or more",
               options.repetitions);
  const auto kv = FormatFromName(options.kv_type);
  if (!kv)
    return Err(ErrorCode::kInvalidArgument, "KV type \"{}\": expected f32, f16, bf16 or q8_0",
               options.kv_type);
  OCTET_ASSIGN(std::vector<Measurement> list, ListMeasurements(options));
  BenchReport report;
  report.kv_type = options.kv_type;
  report.repetitions = options.repetitions;
  if (progress) progress("load", 0, 1);
  const auto start = std::chrono::steady_clock::now();
  OCTET_ASSIGN(Checkpoint checkpoint,
               options.synthetic.empty() ? Runtime::Open(options.model) : SyntheticModel(options));
  OCTET_ASSIGN(const ModelConfig config, ReadModelConfig(checkpoint));
  if (!options.synthetic.empty()) OCTET_TRY(CheckSyntheticFits(checkpoint));
  DropWhatDoesNotFit(config, WeightBytes(checkpoint), *kv, list, report);
  Runtime runtime;
  OCTET_TRY(runtime.Start(std::move(checkpoint), {options.arithmetic, options.threads}));
  report.load_s = Seconds(start);
  report.load_peak_memory_bytes = PeakMemoryBytes();
  Describe(runtime, report);

  OCTET_ASSIGN(StepBench bench, StepBench::Create(*runtime.model, ShapesOf(list), *kv));
  // Prompts of four layers shall take an eighth of the time of 32.
  if (!options.synthetic.empty() && options.layers > 0) bench.TakeLastLayerWhole();
  OCTET_ASSIGN(LimitPasses limits, LimitPasses::Create(runtime.kernels, *runtime.pool,
                                                       ReadLimitBytes(report.weight_bytes)));
  Context context = runtime.MakeContext();
  std::vector<StepCost> costs;
  for (size_t i = 0; i < list.size(); ++i)
    costs.push_back(bench.Cost(i, context));  // and the first touch of everything
  RunRounds(options, bench, limits, context, list, progress);

  for (size_t i = 0; i < list.size(); ++i) {
    report.figures.push_back(Summarise(list[i], costs[i], config, limits.rates()));
    AddPeakShares(limits, costs[i], report.figures.back());
    if (options.profile) AddProfile(options, bench, i, context, report.figures.back());
  }
  AddKvCosts(list, report.figures);
  report.limits = limits.Report();
  report.peak_memory_bytes = PeakMemoryBytes();
  return report;
}

}  // namespace

Result<BenchReport> RunBench(const BenchOptions& options, const BenchProgress& progress) {
  return Guarded([&] { return Run(options, progress); });
}

}  // namespace octet
