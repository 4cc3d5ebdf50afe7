// The oracle of every float matmul: the canonical float order of kernel.h, spelled out. Any format.
#include <cmath>

#include "kernels/kernel.h"

namespace octet {
namespace {

constexpr int64_t kSegment = 256;  // a multiple of every block size

/// Takes n ≤ kSegment products; k counts from a multiple of 16.
void AddProducts(const float* x, const float* w, int64_t n, float* lanes) {
  for (int64_t k = 0; k < n; ++k) lanes[k % 16] = std::fma(x[k], w[k], lanes[k % 16]);
}

float SumLanes(float* lanes) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

void Matmul(const MatmulArgs& args) {
  float* segment = args.scratch;
  for (int64_t r = 0; r < args.rows; ++r) {
    const std::byte* row = args.w + r * args.w_row_bytes;
    for (int64_t t = 0; t < args.tokens; ++t) {
      float lanes[16] = {};
      for (int64_t k = 0; k < args.cols; k += kSegment) {
        const int64_t n = args.cols - k < kSegment ? args.cols - k : kSegment;
        args.decode(row + args.w_row_bytes * k / args.cols, n, segment);
        AddProducts(args.x + t * args.x_stride + k, segment, n, lanes);
      }
      args.y[t * args.y_stride + r] = SumLanes(lanes);
    }
  }
}

}  // namespace

OCTET_KERNELS(reference_matmul_f32) = {
    {.name = "reference/matmul_f32",
     .op = KernelOp::kMatmul,
     .isa = 0,
     .speed = 0,
     .any_format = true,
     .layout = Layout::kRowMajor,
     .arithmetic = Arithmetic::kFloat32,
     .scratch_floats = kSegment,
     .matmul = Matmul},
    {},
};

}  // namespace octet
