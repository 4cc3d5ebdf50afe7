#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

void Sum(const SumArgs& args) {
  for (int64_t i = 0; i < args.n; i += 16) {
    const int64_t left = args.n - i;
    const auto mask = static_cast<__mmask16>(left >= 16 ? 0xffff : (1u << left) - 1);
    const auto term = [&](int64_t j) {
      return _mm512_mul_ps(_mm512_set1_ps(args.weights[j]),
                           _mm512_maskz_loadu_ps(mask, args.rows[j] + i));
    };
    __m512 sum = term(0);
    if (args.adds) sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, args.out + i), sum);
    for (int64_t j = 1; j < args.terms; ++j) sum = _mm512_add_ps(sum, term(j));
    _mm512_mask_storeu_ps(args.out + i, mask, sum);
  }
}

}  // namespace

OCTET_KERNELS(x86_avx512_sum) = {
    {.name = "x86_avx512/sum", .op = KernelOp::kSum, .isa = kIsaAvx512, .speed = 20, .sum = Sum},
    {},
};

}  // namespace octet
