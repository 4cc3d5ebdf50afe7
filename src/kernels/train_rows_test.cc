// Every kernel of training's row functions against the reference, bit for bit, at tails and at
// values that are not ordinary; the reference against double.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"
#include "kernels/registry.h"

namespace octet {
namespace {

using Floats = std::vector<float>;

constexpr int64_t kCounts[] = {1, 7, 15, 16, 17, 31, 100, 4099};

/// Calls check(kernel, reference, n) for every kernel of `op` that runs here.
template <class Check>
void ForEachKernel(KernelOp op, const KernelDescriptor& reference, Check check) {
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op != op || (kernel->isa & ~DetectIsa()) != 0) continue;
    for (const int64_t n : kCounts) {
      SCOPED_TRACE(::testing::Message() << kernel->name << " n " << n);
      check(*kernel, reference, n);
    }
  }
}

Floats Random(int64_t n, uint64_t stream, double scale = 1) {
  Floats x(n);
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(scale * RandomNormal(3, stream, i));
  return x;
}

void ExpectSameBits(const Floats& got, const Floats& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(want[i])) {
      EXPECT_TRUE(std::isnan(got[i])) << i;
    } else {
      EXPECT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i])) << i;
    }
  }
}

Floats SwiGluGrad(const KernelDescriptor& kernel, int64_t n) {
  Floats gate = Random(n, 1, 20), out(2 * n);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float odd[] = {0.0f, -0.0f, NAN, -90.0f, -kInfinity, 3e38f};
  for (int64_t i = 0; i < n && i < 6; ++i) gate[(i * 5) % n] = odd[i];
  const Floats up = Random(n, 2), d_hidden = Random(n, 3);
  kernel.swiglu_grad({gate.data(), up.data(), d_hidden.data(), out.data(), out.data() + n, n});
  return out;
}

TEST(SwiGluGradKernels, EqualTheReferenceBitForBit) {
  ForEachKernel(KernelOp::kSwiGluGrad, *SelectKernels(0).swiglu_grad,
                [](const auto& kernel, const auto& reference, int64_t n) {
                  ExpectSameBits(SwiGluGrad(kernel, n), SwiGluGrad(reference, n));
                });
}

/// z, then at_target; `sum` apart.
Floats TargetRow(const KernelDescriptor& kernel, int64_t n, bool with_grad, double& sum) {
  Floats z = Random(n, 4, 10);
  const float d = -0.125f;
  float at_target = 0;
  kernel.target_row(
      {z.data(), n, static_cast<int32_t>(n / 2), with_grad ? &d : nullptr, &sum, &at_target});
  if (!with_grad) z.clear();
  z.push_back(at_target);
  return z;
}

TEST(TargetRowKernels, EqualTheReferenceBitForBit) {
  ForEachKernel(KernelOp::kTargetRow, *SelectKernels(0).target_row,
                [](const auto& kernel, const auto& reference, int64_t n) {
                  for (const bool with_grad : {false, true}) {
                    double got = 0, want = 0;
                    ExpectSameBits(TargetRow(kernel, n, with_grad, got),
                                   TargetRow(reference, n, with_grad, want));
                    EXPECT_EQ(got, want);
                  }
                });
}

TEST(TargetRowKernels, GiveASoftmaxAndItsGradient) {
  double sum = 0;
  constexpr int64_t kN = 1000;
  const Floats logits = Random(kN, 4, 10),
               grad = TargetRow(*SelectKernels(0).target_row, kN, true, sum);
  const double best = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float z : logits) total += std::exp(z - best);
  EXPECT_NEAR(sum, total, 1e-6 * total);
  for (int64_t i = 0; i < kN; ++i) {
    const double p = std::exp(logits[i] - best) / total;
    EXPECT_NEAR(grad[i], -0.125 * ((i == kN / 2) - p), 1e-6 * (p + (i == kN / 2))) << i;
  }
}

Floats AdamW(const KernelDescriptor& kernel, int64_t n) {
  Floats w = Random(n, 5), m = Random(n, 6), v = Random(n, 7), grad = Random(n, 8);
  for (float& x : v) x = std::abs(x);
  kernel.adamw({.w = w.data(),
                .grad = grad.data(),
                .m = m.data(),
                .v = v.data(),
                .n = n,
                .grad_scale = 0.5f,
                .beta1 = 0.9f,
                .beta2 = 0.95f,
                .keep = 0.999f,
                .step = 0.01f,
                .root_scale = 1.5f,
                .eps = 1e-8f});
  w.insert(w.end(), m.begin(), m.end());
  w.insert(w.end(), v.begin(), v.end());
  return w;
}

TEST(AdamWKernels, EqualTheReferenceBitForBit) {
  ForEachKernel(KernelOp::kAdamW, *SelectKernels(0).adamw,
                [](const auto& kernel, const auto& reference, int64_t n) {
                  ExpectSameBits(AdamW(kernel, n), AdamW(reference, n));
                });
}

TEST(DotKernels, EqualTheReferenceBitForBit) {
  ForEachKernel(KernelOp::kDot, *SelectKernels(0).dot,
                [](const auto& kernel, const auto& reference, int64_t n) {
                  const Floats a = Random(n, 9, 1e3), b = Random(n, 10);
                  double got = 0, want = 0, exact = 0, magnitude = 0;
                  kernel.dot({a.data(), b.data(), n, &got});
                  reference.dot({a.data(), b.data(), n, &want});
                  for (int64_t i = 0; i < n; ++i) {
                    exact += static_cast<double>(a[i]) * b[i];
                    magnitude += std::abs(static_cast<double>(a[i]) * b[i]);
                  }
                  EXPECT_EQ(got, want);
                  EXPECT_NEAR(got, exact, static_cast<double>(n) * 0x1p-53 * magnitude);
                  kernel.dot({a.data(), a.data(), n, &got});
                  reference.dot({a.data(), Floats(a).data(), n, &want});
                  EXPECT_EQ(got, want) << "of a vector with itself";
                });
}

Floats RmsNormGrad(const KernelDescriptor& kernel, int64_t n, bool trained) {
  const Floats x = Random(n, 13), w = Random(n, 14), d_y = Random(n, 15);
  Floats d_x = Random(n, 16), partial = Random(n, 17);
  kernel.rms_norm_grad(
      {x.data(), w.data(), d_y.data(), n, 1e-5, d_x.data(), trained ? partial.data() : nullptr});
  d_x.insert(d_x.end(), partial.begin(), partial.end());
  return d_x;
}

TEST(RmsNormGradKernels, EqualTheReferenceBitForBit) {
  ForEachKernel(KernelOp::kRmsNormGrad, *SelectKernels(0).rms_norm_grad,
                [](const auto& kernel, const auto& reference, int64_t n) {
                  for (const bool trained : {false, true}) {
                    ExpectSameBits(RmsNormGrad(kernel, n, trained),
                                   RmsNormGrad(reference, n, trained));
                  }
                });
}

/// d_x, then d_w where it is trained.
Floats RouterGrad(const KernelDescriptor& kernel, int64_t n, int64_t experts, bool trained) {
  constexpr int64_t kRows = 5;
  const int64_t stride = n + 3;
  const Floats d_logits = Random(kRows * experts, 18), w = Random(experts * n, 19);
  const Floats x = Random(kRows * stride, 20);
  Floats d_x = Random(kRows * stride, 21), d_w = Random(experts * n, 22);
  kernel.router_grad({.d_logits = d_logits.data(),
                      .w = w.data(),
                      .x = x.data(),
                      .x_stride = stride,
                      .d_x = d_x.data(),
                      .d_x_stride = stride,
                      .d_w = trained ? d_w.data() : nullptr,
                      .rows = kRows,
                      .experts = experts,
                      .n = n});
  d_x.insert(d_x.end(), d_w.begin(), d_w.end());
  return d_x;
}

TEST(RouterGradKernels, EqualTheReferenceBitForBit) {
  ForEachKernel(KernelOp::kRouterGrad, *SelectKernels(0).router_grad,
                [](const auto& kernel, const auto& reference, int64_t n) {
                  for (const int64_t experts : {1, 8, 11}) {
                    for (const bool trained : {false, true}) {
                      ExpectSameBits(RouterGrad(kernel, n, experts, trained),
                                     RouterGrad(reference, n, experts, trained));
                    }
                  }
                });
}

}  // namespace
}  // namespace octet
