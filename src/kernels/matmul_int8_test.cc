// Every matmul kernel with int8 activations against quant/integer_dot.h, bit for bit.
#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "base/rng.h"
#include "cpu/isa.h"
#include "kernels/registry.h"
#include "quant/integer_dot.h"

namespace octet {
namespace {

constexpr float kCanary = 1234.5f;

struct Problem {
  Format format;
  int64_t rows, cols, tokens;
  auto operator<=>(const Problem&) const = default;
};

/// Weights, packed and not, and quantised activations, in block-major and in row order.
struct Operands {
  explicit Operands(const Problem& p) : problem(p) {
    const FormatInfo& info = Info(p.format);
    blocks.resize(p.rows * FormatBytes(p.format, p.cols));
    // Random bytes reach every code and scale; without bit 6 no 16-bit scale is infinite.
    for (size_t i = 0; i < blocks.size(); ++i) {
      blocks[i] = static_cast<std::byte>(RandomBits(3, 1, i));
    }
    for (size_t b = 0; b < blocks.size(); b += info.block_bytes) MakeScalesFinite(b);
    activation_blocks = (p.cols + kActivationBlock - 1) / kActivationBlock;
    const int64_t n =
        activation_blocks * (p.tokens + 1) * static_cast<int64_t>(sizeof(ActivationBlock));
    by_row = *Buffer::Allocate(n, "test");
    by_block = *Buffer::Allocate(n, "test");
    std::vector<float> x(p.cols);
    for (int64_t t = 0; t < p.tokens; ++t) {
      for (int64_t k = 0; k < p.cols; ++k) {
        x[k] = static_cast<float>(RandomNormal(4, t, k) * (k % 64 == 1 ? 30 : 1));
        if (t % 5 == 4) x[k] = x[k] < 0 ? -1.0f : 1.0f;  // codes of ±127 alone: the largest sums
      }
      ActivationBlock* row = by_row.as<ActivationBlock>() + t * activation_blocks;
      if (ReadsScalesPer32(p.format)) {
        QuantizeActivations32(x.data(), p.cols, row);
      } else {
        QuantizeActivations(x.data(), p.cols, row);
      }
      for (int64_t b = 0; b < activation_blocks; ++b) {
        by_block.as<ActivationBlock>()[b * p.tokens + t] = row[b];
      }
      for (int64_t r = 0; r < p.rows; ++r) {
        const std::byte* w = blocks.data() + r * FormatBytes(p.format, p.cols);
        want.push_back(FindIntegerDot(p.format)(w, row, p.cols, 0.0f));
      }
    }
  }

  /// Clears the top exponent bit of whatever 16-bit fields are scales, and lets the rest alone.
  void MakeScalesFinite(size_t block) {
    const FormatInfo& info = Info(problem.format);
    std::vector<float> values(info.block_values);
    // Find the fields by their effect: a field that can make the values not finite is a scale.
    for (int at = 0; at + 1 < info.block_bytes; at += 2) {
      uint16_t half;
      std::byte* p = blocks.data() + block + at;
      std::memcpy(&half, p, 2);
      const uint16_t infinite = 0x7c00;
      std::memcpy(p, &infinite, 2);
      info.decode(blocks.data() + block, info.block_values, values.data());
      bool finite = true;
      for (const float v : values) finite = finite && std::isfinite(v);
      if (!finite) half = static_cast<uint16_t>(half & 0xbfff);
      std::memcpy(p, &half, 2);
    }
  }

  Problem problem;
  std::vector<std::byte> blocks;
  int64_t activation_blocks = 0;
  Buffer by_row, by_block;
  std::vector<float> want;  // [tokens][rows]
};

/// Made once a problem: the oracle is slow.
const Operands& OperandsOf(const Problem& p) {
  static std::map<Problem, std::unique_ptr<Operands>> made;
  std::unique_ptr<Operands>& operands = made[p];
  if (operands == nullptr) operands = std::make_unique<Operands>(p);
  return *operands;
}

Buffer Packed(const Operands& operands) {
  const Problem& p = operands.problem;
  const int64_t row_bytes = FormatBytes(p.format, p.cols);
  const int64_t panel_bytes = PanelBytes(p.format, p.cols);
  Buffer packed = *Buffer::Allocate(Panel16Bytes(p.format, p.rows, p.cols), "test");
  for (int64_t row = 0; row < p.rows; row += kPanelRows) {
    const std::byte* rows[kPanelRows] = {};
    for (int64_t r = row; r < std::min(p.rows, row + kPanelRows); ++r) {
      rows[r - row] = operands.blocks.data() + r * row_bytes;
    }
    PackPanel(p.format, rows, p.cols, packed.data() + row / kPanelRows * panel_bytes);
  }
  return packed;
}

void ExpectEqualsIntegerDot(const KernelDescriptor& kernel, const Problem& p) {
  const Operands& operands = OperandsOf(p);
  const int64_t row_bytes = FormatBytes(p.format, p.cols), y_stride = p.rows + 3;
  const Buffer packed = kernel.layout == Layout::kPanel16 ? Packed(operands) : Buffer();
  Buffer scratch = *Buffer::Allocate(kernel.scratch_floats * sizeof(float) + 64, "test");
  std::vector<float> y(p.tokens * y_stride + 1, kCanary);
  kernel.matmul({.w = kernel.layout == Layout::kPanel16 ? packed.data() : operands.blocks.data(),
                 .w_row_bytes = row_bytes,
                 .rows = p.rows,
                 .cols = p.cols,
                 .y = y.data(),
                 .y_stride = y_stride,
                 .tokens = p.tokens,
                 .decode = Info(p.format).decode,
                 .scratch = scratch.as<float>(),
                 .xq = operands.by_block.as<ActivationBlock>(),
                 .xq_tokens = p.tokens,
                 .pack = FindPanel16(p.format)->pack,
                 .dot = FindIntegerDot(p.format)});
  for (int64_t t = 0; t < p.tokens; ++t) {
    for (int64_t r = 0; r < y_stride; ++r) {
      const float want = r < p.rows ? operands.want[static_cast<size_t>(t * p.rows + r)] : kCanary;
      ASSERT_EQ(y[t * y_stride + r], want) << "token " << t << ", row " << r;
    }
  }
  ASSERT_EQ(y.back(), kCanary);
}

class Int8Matmul : public ::testing::TestWithParam<const KernelDescriptor*> {};

TEST_P(Int8Matmul, EqualsTheIntegerDotBitForBit) {
  const KernelDescriptor& kernel = *GetParam();
  if ((kernel.isa & ~DetectIsa()) != 0)
    GTEST_SKIP() << "this machine lacks " << IsaNames(kernel.isa);
  for (int f = 0; f < kFormatCount; ++f) {
    const auto format = static_cast<Format>(f);
    if (FindIntegerDot(format) == nullptr || (!kernel.any_format && kernel.format != format))
      continue;
    const bool per32 = kernel.activations == Activations::kInt8Per32;
    if (kernel.any_format && per32 != ReadsScalesPer32(format)) continue;
    ASSERT_EQ(per32, ReadsScalesPer32(format));
    const int64_t block = Info(format).block_values;
    std::vector<Problem> problems = {
        {format, 130, 256, 300},  // more than one chunk of tokens, unevenly
        {format, 530, 512, 40},   // more than one group of panels
        {format, 290, 768, 9},    // several groups of panels for few tokens
        {format, 290, 256, 32},  {format, 7, 512, 0},
    };
    for (const int64_t cols : {block, 256 + block, int64_t{768}}) {
      for (const int64_t rows : {1, 35}) {
        for (const int64_t tokens : {1, 7, 17, 34}) {
          problems.push_back({format, rows, cols, tokens});
        }
      }
    }
    for (const Problem& p : problems) {
      SCOPED_TRACE(::testing::Message() << Info(format).name << " rows " << p.rows << " cols "
                                        << p.cols << " tokens " << p.tokens);
      ExpectEqualsIntegerDot(kernel, p);
      if (HasFatalFailure()) return;
    }
  }
}

std::vector<const KernelDescriptor*> Int8Kernels() {
  std::vector<const KernelDescriptor*> kernels;
  for (const KernelDescriptor* kernel : AllKernels()) {
    const bool int8 =
        kernel->activations == Activations::kInt8 || kernel->activations == Activations::kInt8Per32;
    if (kernel->op == KernelOp::kMatmul && int8) kernels.push_back(kernel);
  }
  return kernels;
}

std::string TestName(const ::testing::TestParamInfo<const KernelDescriptor*>& info) {
  std::string name = info.param->name;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Registry, Int8Matmul, ::testing::ValuesIn(Int8Kernels()), TestName);

}  // namespace
}  // namespace octet
