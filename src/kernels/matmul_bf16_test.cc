// Every matmul kernel with bf16 activations: close to exact arithmetic on the rounded values, and
// the same bits for any number of tokens and either layout. And the rounding itself.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/buffer.h"
#include "base/f16.h"
#include "base/rng.h"
#include "cpu/isa.h"
#include "kernels/registry.h"

namespace octet {
namespace {

constexpr float kCanary = 1234.5f;
constexpr int64_t kTokens = 330;  // more than one group of tokens

bool Runs(const KernelDescriptor& kernel) { return (kernel.isa & ~DetectIsa()) == 0; }

std::vector<const KernelDescriptor*> Bf16Kernels() {
  std::vector<const KernelDescriptor*> kernels;
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op == KernelOp::kMatmul && kernel->activations == Activations::kBf16 &&
        Runs(*kernel)) {
      kernels.push_back(kernel);
    }
  }
  return kernels;
}

float Widened(uint16_t bf16) { return std::bit_cast<float>(static_cast<uint32_t>(bf16) << 16); }

/// BF16 weights [rows, cols] and rounded activations of kTokens tokens.
struct Operands {
  Operands(int64_t n_rows, int64_t n_cols) : rows(n_rows), cols(n_cols) {
    w = *Buffer::Allocate(rows * cols * 2, "test");
    std::vector<float> values(rows * cols);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(RandomNormal(5, 1, i) * (i % 11 == 0 ? 20 : 1));
    Info(Format::kBf16).encode(values.data(), rows * cols, w.data());
    for (int64_t t = 0; t < kTokens; ++t) {
      x.emplace_back(cols);
      for (int64_t k = 0; k < cols; ++k) {
        const auto value = static_cast<float>(RandomNormal(6, t, k));
        x[t][k] = Widened(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));
      }
    }
  }
  float Weight(int64_t r, int64_t k) const { return Widened(w.as<uint16_t>()[r * cols + k]); }
  int64_t rows, cols;
  Buffer w;
  std::vector<std::vector<float>> x;
};

Buffer Packed(const Operands& o) {
  Buffer packed = *Buffer::Allocate(Panel16Bytes(Format::kBf16, o.rows, o.cols), "test");
  for (int64_t row = 0; row < o.rows; row += kPanelRows) {
    const std::byte* rows[kPanelRows] = {};
    for (int64_t r = row; r < std::min(o.rows, row + kPanelRows); ++r)
      rows[r - row] = o.w.data() + r * o.cols * 2;
    PackPanel(Format::kBf16, rows, o.cols,
              packed.data() + row / kPanelRows * PanelBytes(Format::kBf16, o.cols));
  }
  return packed;
}

/// y of tokens [first, first + n): [n][rows + 3] with canaries in the gaps.
std::vector<float> RunKernel(const KernelDescriptor& kernel, const Operands& o, int64_t first,
                             int64_t n) {
  const int64_t blocks = (o.cols + kActivationBlock - 1) / kActivationBlock;
  Buffer xb = *Buffer::Allocate((blocks * n + kRoundedPadding) * sizeof(RoundedBlock), "test");
  std::memset(xb.data(), 0xff, xb.size());  // NaNs where nothing belongs to a token
  const KernelDescriptor& round = *SelectKernels(DetectIsa()).round;
  for (int64_t t = 0; t < n; ++t)
    round.round({o.x[first + t].data(), o.cols, xb.as<RoundedBlock>() + t, n});
  const Buffer packed = kernel.layout == Layout::kPanel16 ? Packed(o) : Buffer();
  Buffer scratch = *Buffer::Allocate(kernel.scratch_floats * sizeof(float), "test");
  std::vector<float> y(n * (o.rows + 3), kCanary);
  kernel.matmul({.w = kernel.layout == Layout::kPanel16 ? packed.data() : o.w.data(),
                 .w_row_bytes = o.cols * 2,
                 .rows = o.rows,
                 .cols = o.cols,
                 .y = y.data(),
                 .y_stride = o.rows + 3,
                 .tokens = n,
                 .scratch = scratch.as<float>(),
                 .xq_tokens = n,
                 .xb = xb.as<RoundedBlock>()});
  return y;
}

TEST(Bf16Matmul, IsCloseToExactArithmeticAndWritesOnlyItsOutputs) {
  if (Bf16Kernels().empty()) GTEST_SKIP() << "no bf16 kernel runs on this machine";
  for (const KernelDescriptor* kernel : Bf16Kernels()) {
    for (const auto& [rows, cols, tokens] : {std::array<int64_t, 3>{1, 1, 1},
                                             {35, 33, 17},
                                             {16, 256, 3},
                                             {130, 300, 70},
                                             {7, 64, 0}}) {
      SCOPED_TRACE(::testing::Message()
                   << kernel->name << " rows " << rows << " cols " << cols << " tokens " << tokens);
      const Operands o(rows, cols);
      const std::vector<float> y = RunKernel(*kernel, o, 0, tokens);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t r = 0; r < rows + 3; ++r) {
          const float got = y[t * (rows + 3) + r];
          if (r >= rows) {
            ASSERT_EQ(got, kCanary);
            continue;
          }
          double sum = 0, magnitude = 0;
          for (int64_t k = 0; k < cols; ++k) {
            const double product = static_cast<double>(o.x[t][k]) * o.Weight(r, k);
            sum += product;
            magnitude += std::abs(product);
          }
          // Products are exact; each of at most `cols` additions rounds once.
          ASSERT_NEAR(got, sum, static_cast<double>(cols) * 0x1p-24 * magnitude) << t << " " << r;
        }
      }
    }
  }
}

TEST(Bf16Matmul, GivesTheSameBitsForAnyTokensAndLayout) {
  const std::vector<const KernelDescriptor*> kernels = Bf16Kernels();
  if (kernels.empty()) GTEST_SKIP() << "no bf16 kernel runs on this machine";
  const Operands o(150, 600);
  std::vector<std::vector<float>> alone;
  for (int64_t t = 0; t < kTokens; ++t) alone.push_back(RunKernel(*kernels[0], o, t, 1));
  for (const KernelDescriptor* kernel : kernels) {
    for (const int64_t tokens : {1, 2, 16, 17, 33, 49, 64, 65, 200, 330}) {
      const std::vector<float> y = RunKernel(*kernel, o, kTokens - tokens, tokens);
      for (int64_t t = 0; t < tokens; ++t) {
        ASSERT_EQ(std::memcmp(y.data() + t * 153, alone[kTokens - tokens + t].data(), 153 * 4), 0)
            << kernel->name << ", token " << t << " of " << tokens;
      }
    }
  }
}

TEST(Round, IsToNearestEvenAndFillsUpWithZeros) {
  const KernelDescriptor* round = SelectKernels(DetectIsa()).round;
  if (round == nullptr) GTEST_SKIP() << "no bf16 kernel runs on this machine";
  constexpr int64_t kCols = 301;
  std::vector<float> x(kCols);
  for (int64_t i = 0; i < kCols; ++i) x[i] = static_cast<float>(RandomNormal(8, 1, i));
  const float infinity = std::numeric_limits<float>::infinity();
  const float special[] = {0.0f,           -0.0f,          infinity, -infinity,
                           1.0f + 0x1p-8f, 1.0f + 0x3p-8f, 1e-40f};
  std::copy(std::begin(special), std::end(special), x.begin());
  x[20] = std::bit_cast<float>(0x7f800001u);  // a NaN whose upper half alone is an infinity
  std::vector<std::byte> want(kCols * 2);
  Info(Format::kBf16).encode(x.data(), kCols, want.data());
  Buffer blocks = *Buffer::Allocate(3 * sizeof(RoundedBlock), "test");
  std::memset(blocks.data(), 0x5a, blocks.size());
  round->round({x.data(), kCols, blocks.as<RoundedBlock>(), 2});
  const auto* out = blocks.as<RoundedBlock>();
  for (int64_t i = 0; i < 512; ++i) {
    const uint16_t got = out[i / 256 * 2].bf16[i % 256];
    uint16_t expected = 0;
    if (i < kCols) std::memcpy(&expected, want.data() + 2 * i, 2);
    if (i == 20) {
      EXPECT_TRUE(std::isnan(Widened(got)));
    } else {
      ASSERT_EQ(got, expected) << i;
    }
  }
  for (const uint16_t untouched : out[1].bf16) ASSERT_EQ(untouched, 0x5a5a);
}

}  // namespace
}  // namespace octet
