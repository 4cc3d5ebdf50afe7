// The oracle of quantised matmul: one scalar integer dot a weight row and token, any format.
#include "kernels/kernel.h"

namespace octet {
namespace {

void Matmul(const MatmulArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    const std::byte* row = args.w + r * args.w_row_bytes;
    for (int64_t t = 0; t < args.tokens; ++t) {
      float acc = 0.0f;
      for (int64_t k = 0; k < args.cols; k += kActivationBlock) {
        const int64_t n = args.cols - k < kActivationBlock ? args.cols - k : kActivationBlock;
        acc = args.dot(row + args.w_row_bytes * k / args.cols,
                       args.xq + k / kActivationBlock * args.xq_tokens + t, n, acc);
      }
      args.y[t * args.y_stride + r] = acc;
    }
  }
}

}  // namespace

OCTET_KERNELS(reference_matmul_int8) = {
    {.name = "reference/matmul_int8",
     .op = KernelOp::kMatmul,
     .isa = 0,
     .speed = 0,
     .any_format = true,
     .layout = Layout::kRowMajor,
     .arithmetic = Arithmetic::kFast,
     .activations = Activations::kInt8,
     .matmul = Matmul},
    {.name = "reference/matmul_int8_per32",
     .op = KernelOp::kMatmul,
     .isa = 0,
     .speed = 0,
     .any_format = true,
     .layout = Layout::kRowMajor,
     .arithmetic = Arithmetic::kFast,
     .activations = Activations::kInt8Per32,
     .matmul = Matmul},
    {},
};

}  // namespace octet
