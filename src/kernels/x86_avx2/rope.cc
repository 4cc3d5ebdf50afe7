#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

void TurnPair(float* a, float* b, float cos, float sin) {
  const float a0 = *a, b0 = *b;
  *a = a0 * cos - b0 * sin;
  *b = a0 * sin + b0 * cos;
}

void Halves(const RopeArgs& args, float* head) {
  int64_t i = 0;
  for (; i + 8 <= args.half; i += 8) {
    const __m256 cos = _mm256_loadu_ps(args.cos + i), sin = _mm256_loadu_ps(args.sin + i);
    float *first = head + i, *second = head + args.half + i;
    const __m256 a = _mm256_loadu_ps(first), b = _mm256_loadu_ps(second);
    _mm256_storeu_ps(first, _mm256_sub_ps(_mm256_mul_ps(a, cos), _mm256_mul_ps(b, sin)));
    _mm256_storeu_ps(second, _mm256_add_ps(_mm256_mul_ps(a, sin), _mm256_mul_ps(b, cos)));
  }
  for (; i < args.half; ++i) TurnPair(head + i, head + args.half + i, args.cos[i], args.sin[i]);
}

/// Four pairs at a time; every angle counts for two lanes.
void Interleaved(const RopeArgs& args, float* head) {
  const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
  int64_t i = 0;
  for (; i + 4 <= args.half; i += 4) {
    const __m256 cos =
        _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(args.cos + i)), twice);
    const __m256 sin =
        _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(args.sin + i)), twice);
    const __m256 x = _mm256_loadu_ps(head + 2 * i);
    const __m256 crossed = _mm256_mul_ps(_mm256_permute_ps(x, 0xb1), sin);
    _mm256_storeu_ps(head + 2 * i, _mm256_addsub_ps(_mm256_mul_ps(x, cos), crossed));
  }
  for (; i < args.half; ++i) TurnPair(head + 2 * i, head + 2 * i + 1, args.cos[i], args.sin[i]);
}

void Rope(const RopeArgs& args) {
  for (int64_t h = 0; h < args.heads; ++h) {
    float* head = args.x + h * 2 * args.half;
    if (args.interleaved) {
      Interleaved(args, head);
    } else {
      Halves(args, head);
    }
  }
}

}  // namespace

OCTET_KERNELS(x86_avx2_rope) = {
    {.name = "x86_avx2/rope", .op = KernelOp::kRope, .isa = kIsaAvx2, .speed = 10, .rope = Rope},
    {},
};

}  // namespace octet
