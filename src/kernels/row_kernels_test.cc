// The kernels of plain rows (norm, rope, sums, encoding keys and values): every one of the registry
// against the reference, bit for bit, at tails; nothing written past the end.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"
#include "kernels/registry.h"

namespace octet {
namespace {

constexpr float kCanary = 77.0f;
constexpr int64_t kCanaries = 16;

std::vector<float> Random(int64_t n, uint64_t stream) {
  std::vector<float> x(n);
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(RandomNormal(31, stream, i));
  return x;
}

std::vector<float> WithCanaries(std::vector<float> x) {
  x.resize(x.size() + kCanaries, kCanary);
  return x;
}

void ExpectSameBits(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i]))
        << "element " << i << ": " << got[i] << ", expected " << want[i];
  }
}

template <class Check>
void ForEachKernel(KernelOp op, Check check) {
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op != op || (kernel->isa & ~DetectIsa()) != 0) continue;
    SCOPED_TRACE(kernel->name);
    check(*kernel);
  }
}

const KernelTable& Reference() {
  static const KernelTable table = SelectKernels(0);
  return table;
}

std::vector<float> RunNorm(const KernelDescriptor& kernel, int64_t n, bool with_delta) {
  std::vector<float> x = WithCanaries(Random(n, 1));
  const std::vector<float> delta = Random(n, 2), weight = Random(n, 3);
  std::vector<float> y(n + kCanaries, kCanary);
  kernel.norm({x.data(), with_delta ? delta.data() : nullptr, with_delta ? x.data() : nullptr,
               weight.data(), 1e-5, y.data(), n});
  y.insert(y.end(), x.begin(), x.end());
  // In place, as the last norm of a model runs.
  x = WithCanaries(Random(n, 1));
  kernel.norm({x.data(), nullptr, nullptr, weight.data(), 1e-5, x.data(), n});
  y.insert(y.end(), x.begin(), x.end());
  return y;
}

TEST(RowKernels, NormsEqualTheReferenceBitForBit) {
  ForEachKernel(KernelOp::kNorm, [](const KernelDescriptor& kernel) {
    for (const int64_t n : {1, 7, 8, 15, 16, 17, 31, 33, 100, 4096}) {
      for (const bool with_delta : {false, true})
        ExpectSameBits(RunNorm(kernel, n, with_delta), RunNorm(*Reference().norm, n, with_delta));
    }
  });
}

std::vector<float> RunRope(const KernelDescriptor& kernel, int64_t half, bool interleaved) {
  constexpr int64_t kHeads = 3;
  std::vector<float> x = WithCanaries(Random(kHeads * 2 * half, 4));
  std::vector<float> cos(half), sin(half);
  for (int64_t i = 0; i < half; ++i) {
    cos[i] = std::cos(static_cast<float>(i) + 0.3f);
    sin[i] = std::sin(static_cast<float>(i) + 0.3f);
  }
  kernel.rope({x.data(), cos.data(), sin.data(), kHeads, half, interleaved});
  return x;
}

TEST(RowKernels, RopesEqualTheReferenceBitForBit) {
  ForEachKernel(KernelOp::kRope, [](const KernelDescriptor& kernel) {
    for (const int64_t half : {1, 3, 4, 5, 6, 8, 15, 16, 20, 33, 64}) {
      for (const bool interleaved : {false, true}) {
        ExpectSameBits(RunRope(kernel, half, interleaved),
                       RunRope(*Reference().rope, half, interleaved));
      }
    }
  });
}

std::vector<float> RunSum(const KernelDescriptor& kernel, int64_t n, int64_t terms, bool adds) {
  std::vector<float> out = WithCanaries(Random(n, 5));
  std::vector<std::vector<float>> rows;
  std::vector<const float*> pointers;
  const std::vector<float> weights = Random(terms, 6);
  for (int64_t j = 0; j < terms; ++j) rows.push_back(Random(n, 7 + static_cast<uint64_t>(j)));
  for (const auto& row : rows) pointers.push_back(row.data());
  kernel.sum({out.data(), adds, pointers.data(), weights.data(), terms, n});
  return out;
}

TEST(RowKernels, SumsEqualTheReferenceBitForBit) {
  ForEachKernel(KernelOp::kSum, [](const KernelDescriptor& kernel) {
    for (const int64_t n : {1, 7, 8, 16, 17, 31, 100}) {
      for (const int64_t terms : {1, 2, 5}) {
        for (const bool adds : {false, true}) {
          ExpectSameBits(RunSum(kernel, n, terms, adds), RunSum(*Reference().sum, n, terms, adds));
        }
      }
    }
  });
}

/// Values that meet every branch of the encoders: ties, what rounds to infinity, subnormals, zeros,
/// what is not a number.
std::vector<float> Values(int kind, int64_t n) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> x = Random(n, 20 + static_cast<uint64_t>(kind));
  const float scale[] = {1, 0, 0x1p-20f, 0x1p-135f, 0x1p15f, 0x1p100f, 1, 1, 1};
  for (float& v : x) v *= scale[kind];
  for (int64_t i = 0; i < n; ++i) {
    if (kind == 6) x[i] = i == 0 ? 127.0f : static_cast<float>(i % 60 - 30) + 0.5f;
    if (kind == 7 && i % 5 == 1) x[i] = i % 2 == 0 ? NAN : -NAN;
    if (kind == 8 && i % 7 == 3) x[i] = i % 2 == 0 ? kInfinity : -kInfinity;
    // Halfway between neighbours, of binary16 and of bfloat16.
    if (kind == 0 && i % 3 == 0) x[i] = 1.0f + static_cast<float>(2 * i + 1) * 0x1p-11f;
    if (kind == 0 && i % 3 == 1) x[i] = -1.0f - static_cast<float>(2 * i + 1) * 0x1p-8f;
  }
  return x;
}

TEST(RowKernels, EncodersWriteTheBytesOfTheirFormat) {
  ForEachKernel(KernelOp::kEncode, [](const KernelDescriptor& kernel) {
    const FormatInfo& info = Info(kernel.format);
    for (const int64_t n : {1, 3, 8, 12, 16, 32, 40, 64, 128}) {
      if (n % info.block_values != 0) continue;
      for (int kind = 0; kind < 9; ++kind) {
        const std::vector<float> x = Values(kind, n);
        std::vector<std::byte> want(FormatBytes(kernel.format, n) + kCanaries, std::byte{0x5a});
        std::vector<std::byte> got = want;
        info.encode(x.data(), n, want.data());
        kernel.encode(x.data(), n, got.data());
        EXPECT_EQ(got, want) << n << " values of kind " << kind;
      }
    }
  });
}

}  // namespace
}  // namespace octet
