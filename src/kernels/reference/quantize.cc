#include "kernels/kernel.h"

namespace octet {
namespace {

template <void (*kQuantizeRow)(const float*, int64_t, ActivationBlock*)>
void Quantize(const QuantizeArgs& args) {
  for (int64_t k = 0; k < args.cols; k += kActivationBlock) {
    const int64_t n = args.cols - k < kActivationBlock ? args.cols - k : kActivationBlock;
    kQuantizeRow(args.x + k, n, args.out + k / kActivationBlock * args.out_stride);
  }
}

}  // namespace

OCTET_KERNELS(reference_quantize) = {
    {.name = "reference/quantize",
     .op = KernelOp::kQuantize,
     .isa = 0,
     .speed = 0,
     .quantize = Quantize<QuantizeActivations>,
     .quantize32 = Quantize<QuantizeActivations32>},
    {},
};

}  // namespace octet
