#include <cmath>

#include "kernels/kernel.h"

namespace octet {
namespace {

void Norm(const NormArgs& args) {
  const float* x = args.x;
  if (args.delta != nullptr) {
    for (int64_t k = 0; k < args.n; ++k) args.sum[k] = args.x[k] + args.delta[k];
    x = args.sum;
  }
  float lanes[16] = {};
  for (int64_t k = 0; k < args.n; ++k) lanes[k % 16] += x[k] * x[k];
  double squares = 0;
  for (const float lane : lanes) squares += lane;
  const double mean = squares / static_cast<double>(args.n);
  const auto r = static_cast<float>(1.0 / std::sqrt(mean + args.eps));
  for (int64_t k = 0; k < args.n; ++k) args.y[k] = x[k] * r * args.weight[k];
}

}  // namespace

OCTET_KERNELS(reference_norm) = {
    {.name = "reference/norm", .op = KernelOp::kNorm, .isa = 0, .speed = 0, .norm = Norm},
    {},
};

}  // namespace octet
