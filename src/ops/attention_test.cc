// Attention at depth: a row's bits are the same alone, in a prompt, on any number of threads and
// for any page size, with the kernels that Arithmetic::kFast takes on this machine and with the
// others.
#include "ops/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"

namespace octet {
namespace {

std::vector<float> Random(int64_t n, uint64_t stream) {
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(RandomNormal(19, stream, i));
  return x;
}

struct Case {
  Format format;
  Arithmetic arithmetic;
  int64_t keys, window;
};

/// Pages of one sequence, filled by AppendKv; NaN where nothing was written.
class Sequence {
 public:
  Sequence(const Case& c, const AttentionShape& shape, int32_t page_tokens, Context& context) {
    const int64_t kv_dim = shape.n_kv_heads * shape.head_dim;
    const int64_t n = (c.keys + page_tokens - 1) / page_tokens;
    const int64_t page_bytes = FormatBytes(c.format, page_tokens * kv_dim);
    memory_.assign(static_cast<size_t>(2 * n * page_bytes), std::byte{0xff});
    for (int64_t i = 0; i < 2 * n; ++i) pointers_.push_back(memory_.data() + i * page_bytes);
    view_ = {{pointers_.data(), static_cast<size_t>(n)},
             {pointers_.data() + n, static_cast<size_t>(n)},
             page_tokens,
             static_cast<int32_t>(shape.n_kv_heads),
             static_cast<int32_t>(shape.head_dim),
             c.format};
    auto k = Random(c.keys * kv_dim, 1), v = Random(c.keys * kv_dim, 2);
    const AttentionSegment all{0, c.keys, 0, view_};
    AppendKv(MakeView(k.data(), c.keys, kv_dim), MakeView(v.data(), c.keys, kv_dim), {&all, 1},
             context);
  }
  const KvView& view() const { return view_; }

 private:
  std::vector<std::byte> memory_;
  std::vector<std::byte*> pointers_;
  KvView view_;
};

class Attend {
 public:
  Attend(const Case& c, int threads, int32_t page_tokens)
      : shape_{8, 2, 64, c.window},
        pool_(threads),
        kernels_(SelectKernels(*SelectIsaFromEnvironment())),
        context_{pool_, kernels_, arena_, c.arithmetic},
        sequence_(c, shape_, page_tokens, context_),
        keys_(c.keys) {}

  /// The last `rows` rows, `chunk` at a time.
  std::vector<float> Rows(int64_t rows, int64_t chunk) {
    const int64_t width = shape_.n_heads * shape_.head_dim;
    auto q = Random(rows * width, 3);
    std::vector<float> out(q.size(), NAN);
    for (int64_t at = 0; at < rows; at += chunk) {
      const int64_t n = std::min(chunk, rows - at);
      const AttentionSegment segment{0, n, keys_ - rows + at, sequence_.view()};
      Attention(MakeView(q.data() + at * width, n, width), shape_, {&segment, 1},
                MakeView(out.data() + at * width, n, width), context_);
    }
    return out;
  }

 private:
  AttentionShape shape_;
  ThreadPool pool_;
  KernelTable kernels_;
  Arena arena_;
  Context context_;
  Sequence sequence_;
  int64_t keys_;
};

class AttentionAtDepth : public ::testing::TestWithParam<Case> {};

TEST_P(AttentionAtDepth, GivesARowTheSameBitsHoweverItIsComputed) {
  constexpr int64_t kRows = 70;
  const auto want = Attend(GetParam(), 2, 64).Rows(kRows, kRows);
  for (const float x : want) ASSERT_TRUE(std::isfinite(x));
  EXPECT_TRUE(Attend(GetParam(), 2, 64).Rows(kRows, 1) == want) << "one by one";
  EXPECT_TRUE(Attend(GetParam(), 2, 64).Rows(kRows, 9) == want) << "chunks of 9";
  for (const int threads : {1, 5, 64})
    EXPECT_TRUE(Attend(GetParam(), threads, 64).Rows(kRows, 2) == want) << threads << " threads";
  for (const int32_t page : {1, 16, 256})
    EXPECT_TRUE(Attend(GetParam(), 2, page).Rows(kRows, 16) == want) << "pages of " << page;
}

TEST_P(AttentionAtDepth, FastIsWithinTheRoundingOfItsFactors) {
  Case precise = GetParam();
  precise.arithmetic = Arithmetic::kFloat32;
  const auto got = Attend(GetParam(), 2, 64).Rows(8, 8);
  const auto want = Attend(precise, 2, 64).Rows(8, 8);
  double error = 0, norm = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += std::pow(static_cast<double>(got[i]) - want[i], 2);
    norm += std::pow(want[i], 2);
  }
  // Queries, keys, weights and values are each rounded to bf16, by at most 2^-9 of themselves; a
  // score of norm ~1 moves its weight by as much.
  EXPECT_LT(std::sqrt(error / norm), 4 * 0x1p-9);
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const Format format : {Format::kF16, Format::kBf16, Format::kQ8_0}) {
    cases.push_back({format, Arithmetic::kFast, 2 * kSpanKeys + 300, 0});
    cases.push_back({format, Arithmetic::kFast, 2 * kSpanKeys + 20, kSpanKeys + 100});
    cases.push_back({format, Arithmetic::kFast, 300, 40});
  }
  cases.push_back({Format::kF16, Arithmetic::kFloat32, 300, 0});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Formats, AttentionAtDepth, ::testing::ValuesIn(Cases()),
                         [](const auto& info) {
                           return std::string(Info(info.param.format).name) +
                                  (info.param.arithmetic == Arithmetic::kFast ? "Fast"
                                                                              : "Float32") +
                                  "Keys" + std::to_string(info.param.keys) + "Window" +
                                  std::to_string(info.param.window);
                         });

}  // namespace
}  // namespace octet
