// Every kFast matmul kernel of the registry that this machine can run against the integer-exact dot
// product of quant/integer_dot.h, bit for bit.
#include <gtest/gtest.h>

#include <cctype>
#include <string>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"
#include "kernels/registry.h"
#include "quant/integer_dot.h"

namespace octet {
namespace {

constexpr float kCanary = 1234.5f;

std::vector<float> RandomFloats(int64_t n, uint64_t stream) {
  std::vector<float> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(RandomNormal(17, stream, i) * (i % 13 == 0 ? 40.0 : 1.0));
  }
  return values;
}

struct Shape {
  int64_t rows, cols, tokens;
};

void ExpectOracle(const KernelDescriptor& kernel, const Shape& shape) {
  const auto [rows, cols, tokens] = shape;
  const FormatInfo& info = Info(kernel.format);
  const int64_t row_bytes = FormatBytes(kernel.format, cols);
  const std::vector<float> weights = RandomFloats(rows * cols, 1);
  std::vector<std::byte> w(static_cast<size_t>(rows * row_bytes));
  info.encode(weights.data(), rows * cols, w.data());
  const int64_t x_stride = cols + 5, y_stride = rows + 3;
  const std::vector<float> x = RandomFloats(tokens * x_stride, 2);
  std::vector<float> y(static_cast<size_t>(tokens * y_stride), kCanary);
  std::vector<float> scratch(static_cast<size_t>(kernel.scratch_floats) + 16);
  float* aligned = scratch.data();
  while (reinterpret_cast<uintptr_t>(aligned) % 64 != 0) ++aligned;
  kernel.matmul({.w = w.data(),
                 .w_row_bytes = row_bytes,
                 .rows = rows,
                 .cols = cols,
                 .x = x.data(),
                 .x_stride = x_stride,
                 .y = y.data(),
                 .y_stride = y_stride,
                 .tokens = tokens,
                 .decode = info.decode,
                 .scratch = aligned});
  const IntegerDotFn dot = FindIntegerDot(kernel.format);
  std::vector<ActivationBlock> blocks(static_cast<size_t>((cols + 255) / 256));
  for (int64_t t = 0; t < tokens; ++t) {
    QuantizeActivations(x.data() + t * x_stride, cols, blocks.data());
    for (int64_t r = 0; r < y_stride; ++r) {
      const float want =
          r < rows ? dot(w.data() + r * row_bytes, blocks.data(), cols, 0.0f) : kCanary;
      const float got = y[static_cast<size_t>(t * y_stride + r)];
      ASSERT_EQ(got, want) << "token " << t << " row " << r;
    }
  }
}

class IntegerMatmul : public ::testing::TestWithParam<const KernelDescriptor*> {};

TEST_P(IntegerMatmul, EqualsTheOracle) {
  const KernelDescriptor& kernel = *GetParam();
  if ((kernel.isa & ~DetectIsa()) != 0)
    GTEST_SKIP() << "this machine lacks " << IsaNames(kernel.isa);
  const int64_t block = Info(kernel.format).block_values;
  for (const int64_t blocks : {1, 3, 17, 37}) {
    for (const int64_t rows : {1, 2, 19}) {
      for (const int64_t tokens : {0, 1, 5}) {
        SCOPED_TRACE(::testing::Message()
                     << "rows " << rows << " blocks " << blocks << " tokens " << tokens);
        ExpectOracle(kernel, {rows, blocks * block, tokens});
        if (HasFatalFailure()) return;
      }
    }
  }
}

std::vector<const KernelDescriptor*> FastKernels() {
  std::vector<const KernelDescriptor*> kernels;
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op == KernelOp::kMatmul && kernel->arithmetic == Arithmetic::kFast)
      kernels.push_back(kernel);
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

INSTANTIATE_TEST_SUITE_P(Registry, IntegerMatmul, ::testing::ValuesIn(FastKernels()), TestName);

TEST(IntegerMatmul, EveryBlockFormatHasAnOracleThatIsNeverChosen) {
  const KernelTable table = SelectKernels(0);
  for (int f = 0; f < kFormatCount; ++f) {
    const auto format = static_cast<Format>(f);
    bool found = false;
    for (const KernelDescriptor* kernel : FastKernels())
      found = found || (kernel->format == format && kernel->speed == kOracleOnly);
    EXPECT_EQ(found, Info(format).block_values > 1) << Info(format).name;
    for (const auto* chosen : table.matmul[static_cast<size_t>(f)])
      EXPECT_NE(chosen->speed, kOracleOnly);
  }
}

}  // namespace
}  // namespace octet
