#include "kernels/kernel.h"

namespace octet {
namespace {

void Sum(const SumArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) {
    float sum = args.weights[0] * args.rows[0][i];
    if (args.adds) sum = args.out[i] + sum;
    for (int64_t j = 1; j < args.terms; ++j) sum += args.weights[j] * args.rows[j][i];
    args.out[i] = sum;
  }
}

}  // namespace

OCTET_KERNELS(reference_sum) = {
    {.name = "reference/sum", .op = KernelOp::kSum, .isa = 0, .speed = 0, .sum = Sum},
    {},
};

}  // namespace octet
