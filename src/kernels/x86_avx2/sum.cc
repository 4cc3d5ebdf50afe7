#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

void Sum(const SumArgs& args) {
  int64_t i = 0;
  for (; i + 8 <= args.n; i += 8) {
    const auto term = [&](int64_t j) {
      return _mm256_mul_ps(_mm256_set1_ps(args.weights[j]), _mm256_loadu_ps(args.rows[j] + i));
    };
    __m256 sum = term(0);
    if (args.adds) sum = _mm256_add_ps(_mm256_loadu_ps(args.out + i), sum);
    for (int64_t j = 1; j < args.terms; ++j) sum = _mm256_add_ps(sum, term(j));
    _mm256_storeu_ps(args.out + i, sum);
  }
  for (; i < args.n; ++i) {
    float sum = args.weights[0] * args.rows[0][i];
    if (args.adds) sum = args.out[i] + sum;
    for (int64_t j = 1; j < args.terms; ++j) sum += args.weights[j] * args.rows[j][i];
    args.out[i] = sum;
  }
}

}  // namespace

OCTET_KERNELS(x86_avx2_sum) = {
    {.name = "x86_avx2/sum", .op = KernelOp::kSum, .isa = kIsaAvx2, .speed = 10, .sum = Sum},
    {},
};

}  // namespace octet
