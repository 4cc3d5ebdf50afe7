// Every matmul kernel of the registry that this machine can run against the reference, bit for bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/f16.h"
#include "base/rng.h"
#include "cpu/isa.h"
#include "kernels/registry.h"

namespace octet {
namespace {

constexpr float kCanary = 1234.5f;

std::vector<float> RandomFloats(int64_t n, uint64_t stream) {
  std::vector<float> values(n);
  for (int64_t i = 0; i < n; ++i) {
    values[i] = static_cast<float>(RandomNormal(7, stream, i) * (i % 13 == 0 ? 40.0 : 1.0));
  }
  return values;
}

/// Blocks of `format` with arbitrary quants and sane scales: encoded where the format has an
/// encoder, else random bytes with every 16-bit field that decodes to a huge scale made small.
std::vector<std::byte> RandomWeights(Format format, int64_t rows, int64_t cols, uint64_t stream) {
  const FormatInfo& info = Info(format);
  std::vector<std::byte> bytes(rows * FormatBytes(format, cols));
  if (info.encode != nullptr) {
    const std::vector<float> values = RandomFloats(rows * cols, stream);
    info.encode(values.data(), rows * cols, bytes.data());
    return bytes;
  }
  // Any byte pattern is a valid block; halves with all exponent bits set would be infinities.
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(RandomBits(3, stream, i) & 0xbf);
  }
  return bytes;
}

const KernelDescriptor& Reference() {
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (std::strcmp(kernel->name, "reference/matmul_f32") == 0) return *kernel;
  }
  ADD_FAILURE() << "no reference";
  return *AllKernels().front();
}

struct Problem {
  Format format;
  int64_t rows, cols, tokens;
  int64_t shift;  // bytes by which the weights are misaligned
};

/// y of `kernel`, [tokens][rows] with a stride of rows + 3 and canaries in the gaps.
std::vector<float> RunKernel(const KernelDescriptor& kernel, const Problem& p) {
  const std::vector<std::byte> blocks = RandomWeights(p.format, p.rows, p.cols, 1);
  // Exactly as many bytes as needed behind the shift, so that a sanitizer sees an overrun.
  std::vector<std::byte> w(blocks.size() + p.shift);
  std::copy(blocks.begin(), blocks.end(), w.begin() + p.shift);
  const int64_t x_stride = p.cols + 5, y_stride = p.rows + 3;
  const std::vector<float> x = RandomFloats(p.tokens * x_stride, 2);
  std::vector<float> y(p.tokens * y_stride + 1, kCanary);
  std::vector<float> scratch(kernel.scratch_floats + 16);
  float* aligned = scratch.data();
  while (reinterpret_cast<uintptr_t>(aligned) % 64 != 0) ++aligned;
  kernel.matmul({.w = w.data() + p.shift,
                 .w_row_bytes = FormatBytes(p.format, p.cols),
                 .rows = p.rows,
                 .cols = p.cols,
                 .x = x.data(),
                 .x_stride = x_stride,
                 .y = y.data(),
                 .y_stride = y_stride,
                 .tokens = p.tokens,
                 .decode = Info(p.format).decode,
                 .scratch = aligned});
  return y;
}

void ExpectSameBits(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i]))
        << "element " << i << ": " << got[i] << ", reference " << want[i];
  }
}

class Float32Matmul : public ::testing::TestWithParam<const KernelDescriptor*> {};

TEST_P(Float32Matmul, EqualsTheReferenceBitForBit) {
  const KernelDescriptor& kernel = *GetParam();
  if ((kernel.isa & ~DetectIsa()) != 0)
    GTEST_SKIP() << "this machine lacks " << IsaNames(kernel.isa);
  for (int f = 0; f < kFormatCount; ++f) {
    const auto format = static_cast<Format>(f);
    if (!kernel.any_format && kernel.format != format) continue;
    const int64_t block = Info(format).block_values;
    for (const int64_t values :
         {int64_t{1}, int64_t{15}, int64_t{16}, int64_t{100}, int64_t{531}, int64_t{1100}}) {
      const int64_t cols = (values + block - 1) / block * block;
      for (const int64_t rows : {1, 2, 7, 70}) {
        for (const int64_t tokens : {0, 1, 3, 6, 67}) {
          SCOPED_TRACE(::testing::Message() << Info(format).name << " rows " << rows << " cols "
                                            << cols << " tokens " << tokens);
          const Problem problem{format, rows, cols, tokens, (rows + tokens) % 4};
          ExpectSameBits(RunKernel(kernel, problem), RunKernel(Reference(), problem));
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

std::vector<const KernelDescriptor*> Float32Kernels() {
  std::vector<const KernelDescriptor*> kernels;
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op == KernelOp::kMatmul && kernel->arithmetic == Arithmetic::kFloat32) {
      kernels.push_back(kernel);
    }
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

INSTANTIATE_TEST_SUITE_P(Registry, Float32Matmul, ::testing::ValuesIn(Float32Kernels()), TestName);

TEST(Float32Matmul, ReferenceIsCloseToDoubleAndWritesOnlyItsOutputs) {
  const Problem problem{Format::kF32, 5, 300, 2, 0};
  const std::vector<float> y = RunKernel(Reference(), problem);
  const std::vector<std::byte> raw = RandomWeights(Format::kF32, 5, 300, 1);
  std::vector<float> w(5 * 300);
  std::memcpy(w.data(), raw.data(), raw.size());
  const std::vector<float> x = RandomFloats(2 * 305, 2);
  for (int64_t t = 0; t < 2; ++t) {
    for (int64_t r = 0; r < 8; ++r) {
      if (r >= 5) {
        EXPECT_EQ(y[t * 8 + r], kCanary);
        continue;
      }
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < 300; ++k) {
        const double product = static_cast<double>(x[t * 305 + k]) * w[r * 300 + k];
        sum += product;
        magnitude += std::abs(product);
      }
      // 300/16 roundings along a lane and 4 in the tree, each at most 2^-24 of the magnitude.
      EXPECT_NEAR(y[t * 8 + r], sum, 23 * 0x1p-24 * magnitude);
    }
  }
}

TEST(SelectKernels, HasAKernelForEverythingOnEveryInstructionSet) {
  for (const uint32_t isa : {0u, static_cast<uint32_t>(kIsaAvx2), DetectIsa()}) {
    const KernelTable table = SelectKernels(isa);
    ASSERT_NE(table.attend_block[0], nullptr);
    EXPECT_EQ(table.attend_block[0]->isa & ~isa, 0u);
    for (int f = 0; f < kFormatCount; ++f) {
      for (const Arithmetic arithmetic : {Arithmetic::kFloat32, Arithmetic::kFast}) {
        const KernelDescriptor* kernel =
            table.Matmul(static_cast<Format>(f), Layout::kRowMajor, arithmetic, 1);
        ASSERT_NE(kernel, nullptr);
        EXPECT_EQ(kernel->isa & ~isa, 0u);
      }
    }
  }
  const KernelTable reference = SelectKernels(0);
  EXPECT_STREQ(reference.attend_block[0]->name, "reference/attend_block");
}

TEST(SelectKernels, NeverLeavesQuantisedWeightsToTheOracleOnAVectorMachine) {
  for (const uint32_t isa : {static_cast<uint32_t>(kIsaAvx2), kIsaAvx2 | kIsaAvx512}) {
    const KernelTable table = SelectKernels(isa);
    for (int f = 0; f < kFormatCount; ++f) {
      const auto format = static_cast<Format>(f);
      if (FindIntegerDot(format) == nullptr) continue;
      for (const Layout layout : {Layout::kRowMajor, Layout::kPanel16}) {
        const KernelDescriptor* kernel = table.Matmul(format, layout, Arithmetic::kFast, 1);
        ASSERT_NE(kernel, nullptr) << Info(format).name;
        EXPECT_NE(kernel->isa, 0u) << Info(format).name;
      }
    }
  }
}

}  // namespace
}  // namespace octet
