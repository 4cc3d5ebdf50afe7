#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

__mmask16 Left(int64_t n) { return static_cast<__mmask16>(n >= 16 ? 0xffff : (1u << n) - 1); }

void Norm(const NormArgs& args) {
  const float* x = args.x;
  __m512 lanes = _mm512_setzero_ps();
  if (args.delta != nullptr) {
    for (int64_t k = 0; k < args.n; k += 16) {
      const __mmask16 mask = Left(args.n - k);
      const __m512 sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, x + k),
                                       _mm512_maskz_loadu_ps(mask, args.delta + k));
      _mm512_mask_storeu_ps(args.sum + k, mask, sum);
      lanes = _mm512_add_ps(lanes, _mm512_mul_ps(sum, sum));
    }
    x = args.sum;
  } else {
    for (int64_t k = 0; k < args.n; k += 16) {
      const __m512 v = _mm512_maskz_loadu_ps(Left(args.n - k), x + k);
      lanes = _mm512_add_ps(lanes, _mm512_mul_ps(v, v));
    }
  }
  alignas(64) float lane[16];
  _mm512_store_ps(lane, lanes);
  double squares = 0;
  for (const float value : lane) squares += value;
  const __m128d mean = _mm_set_sd(squares / static_cast<double>(args.n) + args.eps);
  const __m512 r = _mm512_set1_ps(static_cast<float>(1.0 / _mm_cvtsd_f64(_mm_sqrt_sd(mean, mean))));
  for (int64_t k = 0; k < args.n; k += 16) {
    const __mmask16 mask = Left(args.n - k);
    const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + k), r);
    _mm512_mask_storeu_ps(args.y + k, mask,
                          _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, args.weight + k)));
  }
}

}  // namespace

OCTET_KERNELS(x86_avx512_norm) = {
    {.name = "x86_avx512/norm",
     .op = KernelOp::kNorm,
     .isa = kIsaAvx512,
     .speed = 20,
     .norm = Norm},
    {},
};

}  // namespace octet
