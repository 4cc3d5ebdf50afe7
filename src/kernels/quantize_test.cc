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
  return x;
}

TEST(QuantizeKernels, EqualTheDefinitionBitForBit) {
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op != KernelOp::kQuantize || (kernel->isa & ~DetectIsa()) != 0) continue;
    for (const int64_t cols : {1, 32, 255, 256, 257, 500, 768}) {
      for (int kind = 0; kind < 7; ++kind) {
        SCOPED_TRACE(::testing::Message() << kernel->name << " cols " << cols << " kind " << kind);
        const std::vector<float> x = Row(kind, cols);
        const int64_t blocks = (cols + kActivationBlock - 1) / kActivationBlock, stride = 3;
        std::vector<ActivationBlock> want(blocks), got(blocks * stride);
        for (ActivationBlock& block : got) std::memset(&block, 0x5a, sizeof(block));
        const ActivationBlock canary = got[0];
        QuantizeActivations(x.data(), cols, want.data());
        kernel->quantize({.x = x.data(), .cols = cols, .out = got.data(), .out_stride = stride});
        for (int64_t b = 0; b < blocks; ++b) {
          const ActivationBlock& block = got[b * stride];
          EXPECT_EQ(std::memcmp(block.q, want[b].q, sizeof(block.q)), 0);
          EXPECT_EQ(std::memcmp(block.sum16, want[b].sum16, sizeof(block.sum16)), 0);
          EXPECT_EQ(std::memcmp(block.sum32, want[b].sum32, sizeof(block.sum32)), 0);
          EXPECT_TRUE(block.scale == want[b].scale ||
                      (std::isnan(block.scale) && std::isnan(want[b].scale)));
          EXPECT_EQ(std::memcmp(&got[b * stride + 1], &canary, sizeof(canary)), 0);
        }
      }
    }
  }
}

}  // namespace
}  // namespace octet
