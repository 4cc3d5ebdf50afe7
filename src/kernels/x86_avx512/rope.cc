#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

__mmask16 Left(int64_t n) { return static_cast<__mmask16>(n >= 16 ? 0xffff : (1u << n) - 1); }

void Halves(const RopeArgs& args, float* head) {
  for (int64_t i = 0; i < args.half; i += 16) {
    const __mmask16 mask = Left(args.half - i);
    const __m512 cos = _mm512_maskz_loadu_ps(mask, args.cos + i);
    const __m512 sin = _mm512_maskz_loadu_ps(mask, args.sin + i);
    float *first = head + i, *second = head + args.half + i;
    const __m512 a = _mm512_maskz_loadu_ps(mask, first), b = _mm512_maskz_loadu_ps(mask, second);
    _mm512_mask_storeu_ps(first, mask, _mm512_sub_ps(_mm512_mul_ps(a, cos), _mm512_mul_ps(b, sin)));
    _mm512_mask_storeu_ps(second, mask,
                          _mm512_add_ps(_mm512_mul_ps(a, sin), _mm512_mul_ps(b, cos)));
  }
}

/// Eight pairs at a time; every angle counts for two lanes.
void Interleaved(const RopeArgs& args, float* head) {
  const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  for (int64_t i = 0; i < args.half; i += 8) {
    const int64_t pairs = args.half - i < 8 ? args.half - i : 8;
    const __mmask16 angles = Left(pairs), mask = Left(2 * pairs);
    const __m512 cos = _mm512_permutexvar_ps(twice, _mm512_maskz_loadu_ps(angles, args.cos + i));
    const __m512 sin = _mm512_permutexvar_ps(twice, _mm512_maskz_loadu_ps(angles, args.sin + i));
    const __m512 x = _mm512_maskz_loadu_ps(mask, head + 2 * i);
    const __m512 straight = _mm512_mul_ps(x, cos);
    const __m512 crossed = _mm512_mul_ps(_mm512_permute_ps(x, 0xb1), sin);
    const __m512 sum = _mm512_add_ps(straight, crossed);
    _mm512_mask_storeu_ps(head + 2 * i, mask, _mm512_mask_sub_ps(sum, 0x5555, straight, crossed));
  }
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

OCTET_KERNELS(x86_avx512_rope) = {
    {.name = "x86_avx512/rope",
     .op = KernelOp::kRope,
     .isa = kIsaAvx512,
     .speed = 20,
     .rope = Rope},
    {},
};

}  // namespace octet
