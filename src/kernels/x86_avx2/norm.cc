#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

/// Steps of 16 floats in vectors, then `rest` one by one; the sixteen lanes of kernel.h.
struct Lanes {
  __m256 low, high;
};

void AddSquares(__m256 low, __m256 high, Lanes* lanes) {
  lanes->low = _mm256_add_ps(lanes->low, _mm256_mul_ps(low, low));
  lanes->high = _mm256_add_ps(lanes->high, _mm256_mul_ps(high, high));
}

/// float(1 / sqrt(mean of squares + eps)); the values from n - n % 16 on are added here.
float InverseRms(const Lanes& lanes, const float* x, const NormArgs& args) {
  alignas(32) float lane[16];
  _mm256_store_ps(lane, lanes.low);
  _mm256_store_ps(lane + 8, lanes.high);
  const int64_t whole = args.n / 16 * 16;
  for (int64_t k = whole; k < args.n; ++k) lane[k - whole] += x[k] * x[k];
  double squares = 0;
  for (const float value : lane) squares += value;
  const __m128d mean = _mm_set_sd(squares / static_cast<double>(args.n) + args.eps);
  return static_cast<float>(1.0 / _mm_cvtsd_f64(_mm_sqrt_sd(mean, mean)));
}

void Norm(const NormArgs& args) {
  const int64_t whole = args.n / 16 * 16;
  const float* x = args.x;
  Lanes lanes = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  if (args.delta != nullptr) {
    for (int64_t k = 0; k < whole; k += 16) {
      const __m256 low = _mm256_add_ps(_mm256_loadu_ps(x + k), _mm256_loadu_ps(args.delta + k));
      const __m256 high =
          _mm256_add_ps(_mm256_loadu_ps(x + k + 8), _mm256_loadu_ps(args.delta + k + 8));
      _mm256_storeu_ps(args.sum + k, low);
      _mm256_storeu_ps(args.sum + k + 8, high);
      AddSquares(low, high, &lanes);
    }
    for (int64_t k = whole; k < args.n; ++k) args.sum[k] = x[k] + args.delta[k];
    x = args.sum;
  } else {
    for (int64_t k = 0; k < whole; k += 16)
      AddSquares(_mm256_loadu_ps(x + k), _mm256_loadu_ps(x + k + 8), &lanes);
  }
  const float r = InverseRms(lanes, x, args);
  const __m256 factor = _mm256_set1_ps(r);
  for (int64_t k = 0; k < whole; k += 8) {
    const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + k), factor);
    _mm256_storeu_ps(args.y + k, _mm256_mul_ps(v, _mm256_loadu_ps(args.weight + k)));
  }
  for (int64_t k = whole; k < args.n; ++k) args.y[k] = x[k] * r * args.weight[k];
}

}  // namespace

OCTET_KERNELS(x86_avx2_norm) = {
    {.name = "x86_avx2/norm", .op = KernelOp::kNorm, .isa = kIsaAvx2, .speed = 10, .norm = Norm},
    {},
};

}  // namespace octet
