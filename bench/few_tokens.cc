// Prints, as a Markdown table, how near products of few tokens come to what the machine allows, a
// format and a number of tokens a line:
//   few_tokens [FORMAT,FORMAT… [TOKENS,TOKENS… [REPETITIONS]]]        few_tokens q4_k,q8_0 1,2,4,8
//   7
// Matrices of 14336 × 4096 fill a region larger than the caches, and each is multiplied once a
// pass with every core, as a decode step does. Passes of all lines and of the read limit take
// turns, and medians count: this machine's neighbours move both by half.
//   GB/s, share   weight bytes a second, and as a part of what the read limit reads
//   in cache      ns a core takes for 16 rows × 256 columns whose weights lie in its second level
//   floor         the longer of both limits, as a part of the measured time
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <sstream>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/rng.h"
#include "cpu/isa.h"
#include "ops/linear.h"
#include "ops/pack.h"
#include "perf/limits.h"

namespace octet {
namespace {

constexpr int64_t kRows = 14336, kCols = 4096;
constexpr int64_t kCachedRows = 256;  // at most 1.1 MB of Q8_0
constexpr int64_t kRegionBytes = int64_t{768} << 20;

double Seconds(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Bytes that look like weights enough: as scales and as floats between 1e-10 and 2.
void FillWeights(Buffer& buffer) {
  auto* words = buffer.as<uint64_t>();
  for (size_t i = 0; i < buffer.size() / 8; ++i) {
    const uint64_t bits = static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15ull;
    words[i] = (bits & 0x0f3f0f3f0f3f0f3full) | 0x3000300030003000ull;
  }
}

/// One line of the table.
struct Line {
  Format format;
  int64_t tokens;
  std::vector<double> pass_s = {}, cached_s = {};
};

class Runner {
 public:
  explicit Runner(uint32_t isa) : kernels_(SelectKernels(isa)), one_(1) {
    weights_ = *Buffer::Allocate(kRegionBytes, "benchmark weights");
    FillWeights(weights_);
    limit_ = std::make_unique<ReadLimit>(*ReadLimit::Create(pool_, kRegionBytes));
  }

  double ReadBytesPerSecond() { return limit_->Measure(pool_); }

  int64_t MatrixBytes(Format format) const { return Matrix(format, kRows, nullptr).bytes(); }

  /// Seconds a matrix with all cores, each matrix of the region once.
  double Pass(const Line& line) {
    const int64_t bytes = MatrixBytes(line.format), n = kRegionBytes / bytes;
    Reserve(line.tokens);
    const auto start = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < n; ++i) {
      const WeightMatrix w = Matrix(line.format, kRows, weights_.data() + i * bytes);
      Multiply(w, line.tokens, pool_);
    }
    return Seconds(start) / static_cast<double>(n);
  }

  /// Seconds of one core for 16 × 256 weights in its cache.
  double Cached(const Line& line) {
    constexpr int kTimes = 40;
    const WeightMatrix w = Matrix(line.format, kCachedRows, weights_.data());
    Reserve(line.tokens);
    Multiply(w, line.tokens, one_);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kTimes; ++i) Multiply(w, line.tokens, one_);
    return Seconds(start) / kTimes / (kCachedRows / kPanelRows) / (kCols / kPanelStep);
  }

  int threads() const { return pool_.threads(); }

 private:
  WeightMatrix Matrix(Format format, int64_t rows, const std::byte* data) const {
    return {.format = format,
            .layout = BestLayout(kernels_, format),
            .rows = rows,
            .cols = kCols,
            .data = data};
  }

  void Reserve(int64_t tokens) {
    for (size_t i = x_.size(); i < static_cast<size_t>(tokens * kCols); ++i)
      x_.push_back(static_cast<float>(RandomNormal(1, 0, i)));
    y_.resize(std::max(y_.size(), static_cast<size_t>(tokens * kRows)));
  }

  void Multiply(const WeightMatrix& w, int64_t tokens, ThreadPool& pool) {
    Context context{pool, kernels_, scratch_, Arithmetic::kFast};
    Linear(w, MakeView<const float>(x_.data(), tokens, kCols), MakeView(y_.data(), tokens, w.rows),
           context);
  }

  KernelTable kernels_;
  ThreadPool pool_, one_;
  Arena scratch_;
  Buffer weights_;
  std::unique_ptr<ReadLimit> limit_;
  std::vector<float> x_, y_;
};

void Print(const Line& line, const Runner& runner, double read_limit) {
  const double bytes = static_cast<double>(runner.MatrixBytes(line.format));
  const double seconds = Median(line.pass_s), cached = Median(line.cached_s);
  const double compute_s = cached * (kRows / kPanelRows) * (kCols / kPanelStep) / runner.threads();
  fmt::print("| {} | {} | {:.1f} | {:.2f} | {:.0f} | {:.2f} |\n", Info(line.format).name,
             line.tokens, bytes / seconds * 1e-9, bytes / seconds / read_limit, cached * 1e9,
             std::max(bytes / read_limit, compute_s) / seconds);
}

void Run(std::vector<Line> lines, int repetitions, uint32_t isa) {
  Runner runner(isa);
  std::vector<double> limits;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    for (Line& line : lines) {
      limits.push_back(runner.ReadBytesPerSecond());
      line.pass_s.push_back(runner.Pass(line));
      line.cached_s.push_back(runner.Cached(line));
    }
  }
  const double read_limit = Median(limits);
  fmt::print("{} cores, read limit {:.1f} GB/s, {}\n\n", runner.threads(), read_limit * 1e-9,
             IsaNames(isa));
  fmt::print(
      "| type | tokens | GB/s | share | in cache, ns | floor |\n|---|---|---|---|---|---|\n");
  for (const Line& line : lines) Print(line, runner, read_limit);
}

std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) {
  using namespace octet;
  std::vector<Line> lines;
  const std::vector<std::string> names = Split(argc > 1 ? argv[1] : "");
  for (int f = 0; f < kFormatCount; ++f) {
    const auto format = static_cast<Format>(f);
    const auto found = std::find_if(names.begin(), names.end(), [&](const std::string& name) {
      return FormatFromName(name) == format;
    });
    if (!names.empty() && found == names.end()) continue;
    for (const std::string& tokens : Split(argc > 2 ? argv[2] : "1")) {
      lines.push_back({format, std::max(std::stoll(tokens), 1ll)});
    }
  }
  if (lines.empty()) {
    fmt::print(stderr, "no format named {}\n", argv[1]);
    return 1;
  }
  const auto isa = SelectIsaFromEnvironment();
  if (!isa) {
    fmt::print(stderr, "{}\n", isa.error().message);
    return 1;
  }
  Run(std::move(lines), argc > 3 ? std::max(std::stoi(argv[3]), 1) : 5, *isa);
}
