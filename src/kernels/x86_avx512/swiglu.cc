#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx512/exp.h"

namespace octet {
namespace {

void SwiGlu(const SwiGluArgs& args) {
  const __m512 one = _mm512_set1_ps(1.0f);
  for (int64_t i = 0; i < args.n; i += 16) {
    const int64_t left = args.n - i;
    const auto mask = static_cast<__mmask16>(left >= 16 ? 0xffff : (1u << left) - 1);
    const __m512 g = _mm512_maskz_loadu_ps(mask, args.gate + i);
    const __m512 e = ExpNegative(_mm512_or_ps(g, _mm512_set1_ps(-0.0f)));
    const __mmask16 rising = _mm512_cmp_ps_mask(g, _mm512_setzero_ps(), _CMP_GE_OQ);
    const __m512 sigmoid = _mm512_div_ps(_mm512_mask_mov_ps(e, rising, one), _mm512_add_ps(one, e));
    _mm512_mask_storeu_ps(
        args.gate + i, mask,
        _mm512_mul_ps(_mm512_mul_ps(g, sigmoid), _mm512_maskz_loadu_ps(mask, args.up + i)));
  }
}

}  // namespace

OCTET_KERNELS(x86_avx512_swiglu) = {
    {.name = "x86_avx512/swiglu",
     .op = KernelOp::kSwiGlu,
     .isa = kIsaAvx512,
     .speed = 20,
     .swiglu = SwiGlu},
    {},
};

}  // namespace octet
