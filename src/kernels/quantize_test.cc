#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"
#include "kernels/registry.h"

namespace octet {
namespace {

/// Rows that meet every branch: plain, zeros, tiny, huge, ties, infinite, not a number.
std::vector<float> Row(int kind, int64_t cols) {
  std::vector<float> x(cols);
  for (int64_t k = 0; k < cols; ++k) x[k] = static_cast<float>(RandomNormal(8, kind, k));
  const auto scale = [&](float factor) {
    for (float& v : x) v *= factor;
  };
  if (kind == 1) scale(0);
  if (kind == 2) scale(0x1p-110f);
  if (kind == 3) scale(0x1p120f);
  if (kind == 4) {
    for (int64_t k = 0; k < cols; ++k) x[k] = static_cast<float>(k % 254 - 127) + 0.5f;
    x[0] = 127;
  }
  if (kind == 5) x[cols / 2] = -std::numeric_limits<float>::infinity();
  if (kind == 6) x[cols - 1] = -std::numeric_limits<float>::quiet_NaN();
  if (kind == 7) {  // groups of 32 of every kind side by side
    for (int64_t k = 0; k < cols; ++k)
      x[k] *= std::ldexp(1.0f, static_cast<int>(k / 32 % 7 * 40) - 120);
    x[cols / 3] = std::numeric_limits<float>::infinity();
  }
  return x;
}

bool SameFloat(float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }

void ExpectSame(const ActivationBlock& got, const ActivationBlock& want, bool per32) {
  EXPECT_EQ(std::memcmp(got.q, want.q, sizeof(got.q)), 0);
  EXPECT_EQ(std::memcmp(got.sum32, want.sum32, sizeof(got.sum32)), 0);
  EXPECT_TRUE(SameFloat(got.scale, want.scale));
  if (per32) {
    for (int g = 0; g < 8; ++g) EXPECT_TRUE(SameFloat(got.scale32[g], want.scale32[g])) << g;
  } else {
    EXPECT_EQ(std::memcmp(got.sum16, want.sum16, sizeof(got.sum16)), 0);
  }
}

void ExpectEqualsTheDefinition(const KernelDescriptor& kernel, const std::vector<float>& x,
                               bool per32) {
  const auto cols = static_cast<int64_t>(x.size());
  const int64_t blocks = (cols + kActivationBlock - 1) / kActivationBlock, stride = 3;
  std::vector<ActivationBlock> want(blocks), got(blocks * stride);
  for (ActivationBlock& block : got) std::memset(&block, 0x5a, sizeof(block));
  const ActivationBlock canary = got[0];
  (per32 ? QuantizeActivations32 : QuantizeActivations)(x.data(), cols, want.data());
  (per32 ? kernel.quantize32
         : kernel.quantize)({.x = x.data(), .cols = cols, .out = got.data(), .out_stride = stride});
  for (int64_t b = 0; b < blocks; ++b) {
    ExpectSame(got[b * stride], want[b], per32);
    EXPECT_EQ(std::memcmp(&got[b * stride + 1], &canary, sizeof(canary)), 0);
  }
}

TEST(QuantizeKernels, EqualTheDefinitionBitForBit) {
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op != KernelOp::kQuantize || (kernel->isa & ~DetectIsa()) != 0) continue;
    for (const int64_t cols : {1, 32, 255, 256, 257, 500, 768}) {
      for (int kind = 0; kind < 8; ++kind) {
        for (const bool per32 : {false, true}) {
          SCOPED_TRACE(::testing::Message() << kernel->name << " cols " << cols << " kind " << kind
                                            << (per32 ? " per 32" : " per 256"));
          ExpectEqualsTheDefinition(*kernel, Row(kind, cols), per32);
        }
      }
    }
  }
}

}  // namespace
}  // namespace octet
