// The oracle of every integer matmul: quant/integer_dot.h, called for each output. It shows what
// the fast integer kernels must equal and is not chosen for a run, being slower than the float
// ones.
#include "quant/integer_dot.h"

#include "kernels/kernel.h"
#include "quant/activation.h"

namespace octet {
namespace {

/// Activations are quantised this many columns at a time, onto the stack.
constexpr int64_t kSegment = 16 * kActivationBlock;

template <Format kFormat>
void Matmul(const MatmulArgs& args) {
  const IntegerDotFn dot = FindIntegerDot(kFormat);
  ActivationBlock blocks[kSegment / kActivationBlock];
  for (int64_t t = 0; t < args.tokens; ++t) {
    float* y = args.y + t * args.y_stride;
    for (int64_t r = 0; r < args.rows; ++r) y[r] = 0.0f;
    for (int64_t k = 0; k < args.cols; k += kSegment) {
      const int64_t n = args.cols - k < kSegment ? args.cols - k : kSegment;
      QuantizeActivations(args.x + t * args.x_stride + k, n, blocks);
      const std::byte* w = args.w + args.w_row_bytes * k / args.cols;
      for (int64_t r = 0; r < args.rows; ++r) y[r] = dot(w + r * args.w_row_bytes, blocks, n, y[r]);
    }
  }
}

template <Format kFormat>
constexpr KernelDescriptor Descriptor(const char* name) {
  return {.name = name,
          .op = KernelOp::kMatmul,
          .isa = 0,
          .speed = kOracleOnly,
          .any_format = false,
          .format = kFormat,
          .layout = Layout::kRowMajor,
          .arithmetic = Arithmetic::kFast,
          .scratch_floats = 0,
          .matmul = Matmul<kFormat>};
}

}  // namespace

OCTET_KERNELS(reference_matmul_int) = {
    Descriptor<Format::kQ4_0>("reference/matmul_int_q4_0"),
    Descriptor<Format::kQ4_1>("reference/matmul_int_q4_1"),
    Descriptor<Format::kQ5_0>("reference/matmul_int_q5_0"),
    Descriptor<Format::kQ5_1>("reference/matmul_int_q5_1"),
    Descriptor<Format::kQ8_0>("reference/matmul_int_q8_0"),
    Descriptor<Format::kQ2_K>("reference/matmul_int_q2_k"),
    Descriptor<Format::kQ3_K>("reference/matmul_int_q3_k"),
    Descriptor<Format::kQ4_K>("reference/matmul_int_q4_k"),
    Descriptor<Format::kQ5_K>("reference/matmul_int_q5_k"),
    Descriptor<Format::kQ6_K>("reference/matmul_int_q6_k"),
    Descriptor<Format::kIq4_Nl>("reference/matmul_int_iq4_nl"),
    Descriptor<Format::kIq4_Xs>("reference/matmul_int_iq4_xs"),
    {},
};

}  // namespace octet
