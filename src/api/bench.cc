#include "octet/bench.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <utility>

#include "api/guard.h"
#include "api/runtime.h"
#include "cpu/isa.h"
#include "model/synthetic.h"
#include "perf/limits.h"
#include "perf/measure.h"
#include "perf/presets.h"
#include "ptq/convert.h"
#include "ptq/recipe.h"
#include "text/synthetic_vocabulary.h"

namespace octet {
namespace {

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

double Seconds(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Result<Checkpoint> SyntheticModel(const BenchOptions& options) {
  OCTET_ASSIGN(const ModelConfig config, PresetConfig(options.synthetic, options.layers));
  OCTET_ASSIGN(const Recipe recipe, RecipeFromName(options.type));
  const FormatChooser chooser(recipe, {}, config, false);
  SyntheticOptions synthetic;
  synthetic.choose = [&](const TensorSpec& spec, const std::string& name) {
    return chooser.Choose(name, spec.role, spec.layer, spec.shape.back());
  };
  synthetic.name = fmt::format("{} ({} layers, {}, random weights)", options.synthetic,
                               config.n_layers, options.type);
  return MakeSyntheticCheckpoint(config, synthetic);
}

/// One thing to measure and its times so far.
struct Measurement {
  std::string name;
  StepRunner runner;
  std::vector<double> seconds;
};

Result<std::vector<Measurement>> MakeMeasurements(const Model& model, const BenchOptions& options,
                                                  Format kv) {
  std::vector<Measurement> measurements;
  const auto add = [&](std::string name, StepShape shape) -> Status {
    if (shape.batch < 1 || shape.rows < 1 || shape.depth < 0 ||
        shape.depth + shape.rows > int64_t{1} << 24) {
      return Err(ErrorCode::kInvalidArgument, "bench: {} is not a size that can be measured", name);
    }
    OCTET_ASSIGN(StepRunner runner, StepRunner::Create(model, shape, kv));
    measurements.push_back({std::move(name), std::move(runner), {}});
    return {};
  };
  for (const int64_t n : options.prompts) OCTET_TRY(add(fmt::format("prompt {}", n), {1, n, 0}));
  for (const int64_t n : options.depths) OCTET_TRY(add(fmt::format("decode at {}", n), {1, 1, n}));
  for (const int64_t n : options.batches) OCTET_TRY(add(fmt::format("batch {}", n), {n, 1, 0}));
  return measurements;
}

/// Passes of the machine's limits, taken between the steps that are measured.
struct Limits {
  ReadLimit read;
  PeakLimit peak;
  std::vector<double> read_passes;
  std::array<std::vector<double>, kPeakCount> peak_passes;

  static Result<Limits> Create(const Runtime& runtime) {
    OCTET_ASSIGN(ReadLimit read, ReadLimit::Create());
    OCTET_ASSIGN(PeakLimit peak, PeakLimit::Create(runtime.kernels, *runtime.pool));
    return Limits{std::move(read), std::move(peak), {}, {}};
  }
  void MeasurePeaks(ThreadPool& pool) {
    for (size_t p = 0; p < kPeakCount; ++p)
      peak_passes[p].push_back(peak.Measure(static_cast<Peak>(p), pool));
  }
  double MedianOf(Peak p) const { return Median(peak_passes[static_cast<size_t>(p)]); }
};

/// Bf16 tiles, the float arithmetic that a model's precision asks for; without them float32.
void AddShares(const Limits& limits, BenchFigure& figure) {
  const double bf16 = limits.MedianOf(Peak::kAmxBf16);
  const double loads = limits.MedianOf(Peak::kAmxBf16Loads);
  const double peak = bf16 > 0 ? bf16 : limits.MedianOf(Peak::kFmaF32);
  if (peak > 0) figure.peak_share = figure.flops_per_s / peak;
  if (loads > 0) figure.loaded_peak_share = figure.flops_per_s / loads;
}

BenchFigure Summarise(const Measurement& m, const StepCost& cost, double read_limit) {
  BenchFigure figure;
  figure.name = m.name;
  figure.tokens = m.runner.tokens();
  figure.median_s = Median(m.seconds);
  figure.min_s = *std::min_element(m.seconds.begin(), m.seconds.end());
  figure.max_s = *std::max_element(m.seconds.begin(), m.seconds.end());
  figure.tokens_per_s = static_cast<double>(figure.tokens) / figure.median_s;
  figure.weight_bytes = cost.weight_bytes;
  figure.kv_bytes = cost.kv_bytes;
  figure.read_bytes_per_s =
      static_cast<double>(cost.weight_bytes + cost.kv_bytes) / figure.median_s;
  figure.read_share = figure.read_bytes_per_s / read_limit;
  figure.flops = cost.flops;
  figure.flops_per_s = cost.flops / figure.median_s;
  return figure;
}

int64_t PeakMemoryBytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

/// Bytes and time of one step may differ by 1000: short steps are averaged over this long.
constexpr double kSampleSeconds = 0.3;

double Sample(StepRunner& runner, Context& context) {
  double total = 0;
  int n = 0;
  while (n == 0 || total < kSampleSeconds) {
    total += runner.Step(context);
    ++n;
  }
  return total / n;
}

Status Prepare(const BenchOptions& options, Runtime& runtime, BenchReport& report) {
  const auto start = std::chrono::steady_clock::now();
  OCTET_ASSIGN(Checkpoint checkpoint,
               options.synthetic.empty() ? Runtime::Open(options.model) : SyntheticModel(options));
  OCTET_TRY(runtime.Start(std::move(checkpoint), {options.arithmetic, options.threads}));
  report.load_s = Seconds(start);
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
  return {};
}

}  // namespace

Result<BenchReport> RunBench(const BenchOptions& options, const BenchProgress& progress) {
  return Guarded([&]() -> Result<BenchReport> {
    if (options.repetitions < 1)
      return Err(ErrorCode::kInvalidArgument, "bench: {} repetitions, expected 1 or more",
                 options.repetitions);
    const auto kv = FormatFromName(options.kv_type);
    if (!kv)
      return Err(ErrorCode::kInvalidArgument, "KV type \"{}\": expected f32, f16, bf16 or q8_0",
                 options.kv_type);
    BenchReport report;
    Runtime runtime;
    if (progress) progress("load", 0, 1);
    OCTET_TRY(Prepare(options, runtime, report));
    Context context = runtime.MakeContext();
    OCTET_ASSIGN(std::vector<Measurement> measurements,
                 MakeMeasurements(*runtime.model, options, *kv));
    OCTET_ASSIGN(Limits limits, Limits::Create(runtime));
    std::vector<StepCost> costs;
    for (Measurement& m : measurements)
      costs.push_back(m.runner.Cost(context));  // and the first touch of everything
    const auto total = static_cast<int64_t>(measurements.size()) * options.repetitions;
    int64_t done = 0;
    for (int repetition = 0; repetition < options.repetitions; ++repetition) {
      limits.read_passes.push_back(limits.read.Measure(*runtime.pool));
      limits.MeasurePeaks(*runtime.pool);
      for (Measurement& m : measurements) {
        if (progress) progress(m.name, done++, total);
        m.seconds.push_back(Sample(m.runner, context));
        if (m.runner.shape().rows > 1) limits.MeasurePeaks(*runtime.pool);
      }
      limits.read_passes.push_back(limits.read.Measure(*runtime.pool));
    }
    report.read_limit_bytes_per_s = Median(limits.read_passes);
    for (size_t p = 0; p < kPeakCount; ++p) {
      const auto peak = static_cast<Peak>(p);
      if (limits.MedianOf(peak) > 0)
        report.peaks.push_back({PeakName(peak), limits.MedianOf(peak)});
    }
    for (size_t i = 0; i < measurements.size(); ++i) {
      report.figures.push_back(Summarise(measurements[i], costs[i], report.read_limit_bytes_per_s));
      AddShares(limits, report.figures.back());
    }
    report.peak_memory_bytes = PeakMemoryBytes();
    return report;
  });
}

Result<ConvertReport> SaveSyntheticModel(const BenchOptions& options,
                                         const std::filesystem::path& destination,
                                         const ConvertOptions& write) {
  return Guarded([&]() -> Result<ConvertReport> {
    if (options.synthetic.empty()) {
      return Err(ErrorCode::kInvalidArgument, "only a synthetic model can be saved; name one of {}",
                 fmt::join(PresetNames(), ", "));
    }
    QuantizeOptions types;
    types.type = options.type;
    OCTET_ASSIGN(const QuantizeChoice choice, ChooseQuantisation(types));
    ConvertSource source;
    OCTET_ASSIGN(source.checkpoint, SyntheticModel(options));
    if (write.tokenizer.empty()) {
      OCTET_ASSIGN(const ModelConfig config, ReadModelConfig(source.checkpoint));
      OCTET_ASSIGN(source.tokenizer, TokenizerFromVocabulary(SyntheticVocabulary(config.vocab_size),
                                                             "synthetic vocabulary"));
    } else {
      OCTET_ASSIGN(source.tokenizer, LoadTokenizer(write.tokenizer));
    }
    source.activity = "writing";
    ConvertOptions gguf = write;
    gguf.target = ConvertTarget::kGguf;
    gguf.type = ConvertType::kDefault;
    return ConvertOpened(std::move(source), destination, gguf, {&choice});
  });
}

}  // namespace octet
