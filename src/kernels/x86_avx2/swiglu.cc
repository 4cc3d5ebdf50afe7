#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx2/exp.h"

namespace octet {
namespace {

__m256 Eight(__m256 g, __m256 up) {
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256 e = ExpNegative(_mm256_or_ps(g, _mm256_set1_ps(-0.0f)));
  const __m256 rising = _mm256_cmp_ps(g, _mm256_setzero_ps(), _CMP_GE_OQ);
  const __m256 sigmoid = _mm256_div_ps(_mm256_blendv_ps(e, one, rising), _mm256_add_ps(one, e));
  return _mm256_mul_ps(_mm256_mul_ps(g, sigmoid), up);
}

void SwiGlu(const SwiGluArgs& args) {
  int64_t i = 0;
  for (; i + 8 <= args.n; i += 8) {
    _mm256_storeu_ps(args.gate + i,
                     Eight(_mm256_loadu_ps(args.gate + i), _mm256_loadu_ps(args.up + i)));
  }
  if (i == args.n) return;
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(args.n - i)),
                                          _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  _mm256_maskstore_ps(
      args.gate + i, mask,
      Eight(_mm256_maskload_ps(args.gate + i, mask), _mm256_maskload_ps(args.up + i, mask)));
}

}  // namespace

OCTET_KERNELS(x86_avx2_swiglu) = {
    {.name = "x86_avx2/swiglu",
     .op = KernelOp::kSwiGlu,
     .isa = kIsaAvx2,
     .speed = 10,
     .swiglu = SwiGlu},
    {},
};

}  // namespace octet
