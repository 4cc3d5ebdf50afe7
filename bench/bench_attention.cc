// Attention alone at Mixtral's shape (32 heads, 8 of keys and values, 128 dims): one row against
// long contexts beside the memory read limit measured in between, and prompts at depth. Pages of 64
// tokens in random order, several layers, so that no cache holds them; then the same work on pages
// that the caches hold: what computing alone takes.
//   bench_attention [f16,bf16,q8_0]    OCTET_ISA as usual
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/rng.h"
#include "cpu/isa.h"
#include "ops/attention.h"
#include "perf/limits.h"

namespace octet {
namespace {

constexpr int64_t kHeads = 32, kKvHeads = 8, kHeadDim = 128, kPageTokens = 64;

/// Pages of `layers` layers of one sequence, in random order; only `distinct` different ones.
class Pages {
 public:
  Pages(Format format, int64_t tokens, int64_t layers, int64_t distinct = int64_t{1} << 40)
      : format_(format), layers_(layers) {
    pages_ = (tokens + kPageTokens - 1) / kPageTokens;
    const int64_t page_bytes = FormatBytes(format, kPageTokens * kKvHeads * kHeadDim);
    const int64_t n = 2 * layers * pages_;
    distinct = std::min(distinct, n);
    memory_ = *Buffer::Allocate(static_cast<size_t>(distinct * page_bytes), "pages");
    std::vector<float> values(kPageTokens * kKvHeads * kHeadDim);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(RandomNormal(3, 0, i));
    std::vector<std::byte> page(static_cast<size_t>(page_bytes));
    Info(format).encode(values.data(), static_cast<int64_t>(values.size()), page.data());
    for (int64_t i = 0; i < n; ++i) {
      pointers_.push_back(memory_.data() + i % distinct * page_bytes);
      std::copy(page.begin(), page.end(), pointers_.back());
    }
    for (int64_t i = n - 1; i > 0; --i) {
      std::swap(pointers_[i], pointers_[RandomBits(5, 0, i) % static_cast<uint64_t>(i + 1)]);
    }
  }
  KvView Layer(int64_t layer) {
    std::byte** first = pointers_.data() + 2 * layer * pages_;
    const auto n = static_cast<size_t>(pages_);
    return {{first, n},
            {first + pages_, n},
            static_cast<int32_t>(kPageTokens),
            static_cast<int32_t>(kKvHeads),
            static_cast<int32_t>(kHeadDim),
            format_};
  }
  int64_t layers() const { return layers_; }

 private:
  Format format_;
  int64_t layers_, pages_;
  Buffer memory_;
  std::vector<std::byte*> pointers_;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Seconds a layer of `rows` rows at `depth` takes.
double Time(Pages& pages, int64_t depth, int64_t rows, Context& context) {
  std::vector<float> q(rows * kHeads * kHeadDim), out(q.size());
  for (size_t i = 0; i < q.size(); ++i) q[i] = static_cast<float>(RandomNormal(4, 0, i));
  const auto start = std::chrono::steady_clock::now();
  for (int64_t layer = 0; layer < pages.layers(); ++layer) {
    const AttentionSegment segment{0, rows, depth, pages.Layer(layer)};
    Attention(MakeView(q.data(), rows, kHeads * kHeadDim), {kHeads, kKvHeads, kHeadDim, 0},
              {&segment, 1}, MakeView(out.data(), rows, kHeads * kHeadDim), context);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return seconds.count() / static_cast<double>(pages.layers());
}

void Run(const std::vector<std::string>& formats) {
  constexpr int kRounds = 9;
  constexpr int64_t kDecode[] = {4096, 16384, 32768}, kDepth = 8192, kRows = 512, kLayers = 4;
  ThreadPool pool(0);
  const KernelTable kernels = SelectKernels(*SelectIsaFromEnvironment());
  Arena arena;
  const ReadLimit limit = *ReadLimit::Create(pool);
  fmt::print("{} threads, {}\n", pool.threads(), IsaNames(kernels.isa));
  for (const std::string& name : formats) {
    const Format format = *FormatFromName(name);
    Pages pages(format, 32768 + 64, kLayers), cached(format, 32768 + 64, kLayers, 8);
    for (const Arithmetic arithmetic : {Arithmetic::kFast, Arithmetic::kFloat32}) {
      Context context{pool, kernels, arena, arithmetic};
      std::vector<double> limits, decode[3], resident, prompt;
      for (int round = 0; round < kRounds; ++round) {
        limits.push_back(limit.Measure(pool));
        for (int i = 0; i < 3; ++i) decode[i].push_back(Time(pages, kDecode[i], 1, context));
        resident.push_back(Time(cached, kDecode[1], 1, context));
        if (round % 4 == 0) prompt.push_back(Time(pages, kDepth, kRows, context));
      }
      const double read = Median(limits);
      fmt::print("{} {}: limit {:.1f} GB/s;", name,
                 arithmetic == Arithmetic::kFast ? "fast" : "float32", read / 1e9);
      for (int i = 0; i < 3; ++i) {
        const auto bytes =
            static_cast<double>(2 * kDecode[i] * FormatBytes(format, kKvHeads * kHeadDim));
        const double seconds = Median(decode[i]);
        fmt::print(" {}: {:.0f} us {:.2f}x the limit's time;", kDecode[i], seconds * 1e6,
                   seconds / (bytes / read));
      }
      const auto bytes =
          static_cast<double>(2 * kDecode[1] * FormatBytes(format, kKvHeads * kHeadDim));
      fmt::print(" computing alone {:.2f}x;", Median(resident) / (bytes / read));
      const double flops = 4.0 * kRows * (kDepth + kRows / 2) * kHeads * kHeadDim;
      fmt::print(" prompt {} at {}: {:.1f} ms {:.3f} TFLOP/s\n", kRows, kDepth,
                 Median(prompt) * 1e3, flops / Median(prompt) / 1e12);
    }
  }
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) {
  std::vector<std::string> formats;
  for (int i = 1; i < argc; ++i) formats.push_back(argv[i]);
  if (formats.empty()) formats = {"f16", "bf16", "q8_0"};
  octet::Run(formats);
}
