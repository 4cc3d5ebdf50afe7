// Every SwiGLU kernel of the registry against the reference, bit for bit, at tails and at values
// that are not ordinary; the reference against double.
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

std::vector<float> Gates(int64_t n) {
  std::vector<float> x(n);
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(20 * RandomNormal(5, 1, i));
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float odd[] = {0.0f,   -0.0f,  kInfinity, -kInfinity, NAN,
                       -87.0f, -88.0f, 3e38f,     -3e38f,     1e-40f};
  for (int64_t i = 0; i < n && i < 10; ++i) x[(i * 7) % n] = odd[i];
  return x;
}

std::vector<float> RunKernel(const KernelDescriptor& kernel, int64_t n) {
  constexpr float kCanary = 77.0f;
  std::vector<float> gate = Gates(n), up(n);
  for (int64_t i = 0; i < n; ++i) up[i] = static_cast<float>(RandomNormal(5, 2, i));
  gate.resize(n + 16, kCanary);
  kernel.swiglu({gate.data(), up.data(), n});
  for (int64_t i = n; i < n + 16; ++i) EXPECT_EQ(gate[i], kCanary) << kernel.name << " n " << n;
  gate.resize(n);
  return gate;
}

TEST(SwiGluKernels, EqualTheReferenceBitForBit) {
  const KernelDescriptor& reference = *SelectKernels(0).swiglu;
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op != KernelOp::kSwiGlu || (kernel->isa & ~DetectIsa()) != 0) continue;
    for (const int64_t n : {1, 7, 8, 9, 15, 16, 17, 31, 100, 14336}) {
      const auto got = RunKernel(*kernel, n), want = RunKernel(reference, n);
      for (int64_t i = 0; i < n; ++i) {
        if (std::isnan(want[i])) {
          EXPECT_TRUE(std::isnan(got[i])) << kernel->name << " n " << n << " element " << i;
        } else {
          EXPECT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i]))
              << kernel->name << " n " << n << " element " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace octet
