#include "kernels/kernel.h"

namespace octet {
namespace {

void Quantize(const QuantizeArgs& args) {
  for (int64_t k = 0; k < args.cols; k += kActivationBlock) {
    const int64_t n = args.cols - k < kActivationBlock ? args.cols - k : kActivationBlock;
    QuantizeActivations(args.x + k, n, args.out + k / kActivationBlock * args.out_stride);
  }
}

}  // namespace

OCTET_KERNELS(reference_quantize) = {
    {.name = "reference/quantize",
     .op = KernelOp::kQuantize,
     .isa = 0,
     .speed = 0,
     .quantize = Quantize},
    {},
};

}  // namespace octet
