// Training's functions of rows, in the order of operations that kernel.h gives.
#include <algorithm>
#include <cmath>

#include "kernels/kernel.h"
#include "kernels/reference/exp.h"

namespace octet {
namespace {

constexpr int kLanes = 16;

double SumLanes(double* lanes) {
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

void SwiGluGrad(const SwiGluGradArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) {
    const float g = args.gate[i], d = args.d_hidden[i];
    const float e = ExpNegative(-std::fabs(g));
    const float t = (g >= 0 ? 1.0f : e) / (1.0f + e);
    args.d_gate[i] = d * args.up[i] * t * std::fma(g, 1.0f - t, 1.0f);
    args.d_up[i] = d * (g * t);
  }
}

void TargetRow(const TargetRowArgs& args) {
  float* z = args.z;
  const float best = *std::max_element(z, z + args.n);
  *args.at_target = z[args.target] - best;
  double lanes[kLanes] = {};
  for (int64_t i = 0; i < args.n; ++i) {
    z[i] = ExpNegative(z[i] - best);
    lanes[i % kLanes] += z[i];
  }
  *args.sum = SumLanes(lanes);
  if (args.d_log_prob == nullptr) return;
  const auto scale = static_cast<float>(-static_cast<double>(*args.d_log_prob) / *args.sum);
  for (int64_t i = 0; i < args.n; ++i) z[i] *= scale;
  z[args.target] += *args.d_log_prob;
}

void AdamW(const AdamWArgs& a) {
  for (int64_t i = 0; i < a.n; ++i) {
    const float g = a.grad[i] * a.grad_scale;
    a.m[i] = a.beta1 * a.m[i] + (1.0f - a.beta1) * g;
    a.v[i] = a.beta2 * a.v[i] + (1.0f - a.beta2) * g * g;
    a.w[i] = a.w[i] * a.keep - a.step * a.m[i] / (std::sqrt(a.v[i]) * a.root_scale + a.eps);
  }
}

void Dot(const DotArgs& args) {
  double lanes[kLanes] = {};
  for (int64_t i = 0; i < args.n; ++i)
    lanes[i % kLanes] += static_cast<double>(args.a[i]) * args.b[i];
  *args.sum = SumLanes(lanes);
}

void RmsNormGrad(const RmsNormGradArgs& args) {
  double squares[kLanes] = {}, dots[kLanes] = {};
  for (int64_t i = 0; i < args.n; ++i) {
    const double x = args.x[i];
    squares[i % kLanes] += x * x;
    dots[i % kLanes] += static_cast<double>(args.d_y[i]) * args.w[i] * x;
  }
  const auto n = static_cast<double>(args.n);
  const double r = 1.0 / std::sqrt(SumLanes(squares) / n + args.eps);
  const auto scale = static_cast<float>(r);
  const auto pull = static_cast<float>(SumLanes(dots) * r * r * r / n);
  for (int64_t i = 0; i < args.n; ++i) {
    args.d_x[i] += scale * args.w[i] * args.d_y[i] - pull * args.x[i];
    if (args.partial != nullptr) args.partial[i] += args.d_y[i] * (args.x[i] * scale);
  }
}

void RouterGrad(const RouterGradArgs& args) {
  for (int64_t t = 0; t < args.rows; ++t) {
    const float* d = args.d_logits + t * args.experts;
    const float* x = args.x + t * args.x_stride;
    float* d_x = args.d_x + t * args.d_x_stride;
    for (int64_t i = 0; i < args.n; ++i) {
      for (int64_t e = 0; e < args.experts; ++e) {
        d_x[i] = std::fma(d[e], args.w[e * args.n + i], d_x[i]);
        if (args.d_w == nullptr) continue;
        float& d_w = args.d_w[e * args.n + i];
        d_w = std::fma(d[e], x[i], d_w);
      }
    }
  }
}

}  // namespace

OCTET_KERNELS(reference_train_rows) = {
    {.name = "reference/swiglu_grad", .op = KernelOp::kSwiGluGrad, .swiglu_grad = SwiGluGrad},
    {.name = "reference/target_row", .op = KernelOp::kTargetRow, .target_row = TargetRow},
    {.name = "reference/adamw", .op = KernelOp::kAdamW, .adamw = AdamW},
    {.name = "reference/dot", .op = KernelOp::kDot, .dot = Dot},
    {.name = "reference/rms_norm_grad", .op = KernelOp::kRmsNormGrad, .rms_norm_grad = RmsNormGrad},
    {.name = "reference/router_grad", .op = KernelOp::kRouterGrad, .router_grad = RouterGrad},
    {},
};

}  // namespace octet
