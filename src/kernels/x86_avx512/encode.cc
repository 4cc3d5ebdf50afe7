// Keys and values as pages store them, the bits of the scalar encoders of src/quant.
#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

__mmask16 Left(int64_t n) { return static_cast<__mmask16>(n >= 16 ? 0xffff : (1u << n) - 1); }

void EncodeF16(const float* values, int64_t n, std::byte* blocks) {
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 mask = Left(n - i);
    const __m512 x = _mm512_maskz_loadu_ps(mask, values + i);
    const __m256i half = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    // Every NaN becomes the quiet one of its sign.
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m256i quiet = _mm256_or_si256(_mm256_and_si256(half, _mm256_set1_epi16(-0x8000)),
                                          _mm256_set1_epi16(0x7e00));
    _mm256_mask_storeu_epi16(blocks + 2 * i, mask, _mm256_mask_mov_epi16(half, nan, quiet));
  }
}

void EncodeBf16(const float* values, int64_t n, std::byte* blocks) {
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 mask = Left(n - i);
    const __m512 x = _mm512_maskz_loadu_ps(mask, values + i);
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    const __m512i rounded = _mm512_srli_epi32(_mm512_mask_mov_epi32(up, nan, quiet), 16);
    _mm256_mask_storeu_epi16(blocks + 2 * i, mask, _mm512_cvtepi32_epi16(rounded));
  }
}

/// Sixteen codes: to the nearest integer, ties away from zero; what is not a number becomes -127.
__m128i Codes(__m512 x, __m512 inverse) {
  const __m512 top = _mm512_set1_ps(127.0f), bottom = _mm512_set1_ps(-127.0f);
  const __m512 v = _mm512_min_ps(_mm512_max_ps(_mm512_mul_ps(x, inverse), bottom), top);
  const __m512 even = _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 rest = _mm512_sub_ps(v, even), zero = _mm512_setzero_ps();
  const __mmask16 up = _mm512_cmp_ps_mask(v, zero, _CMP_GT_OQ) &
                       _mm512_cmp_ps_mask(rest, _mm512_set1_ps(0.5f), _CMP_EQ_OQ);
  const __mmask16 down = _mm512_cmp_ps_mask(v, zero, _CMP_LT_OQ) &
                         _mm512_cmp_ps_mask(rest, _mm512_set1_ps(-0.5f), _CMP_EQ_OQ);
  const __m512i one = _mm512_set1_epi32(1);
  __m512i code = _mm512_cvttps_epi32(even);
  code = _mm512_mask_add_epi32(code, up, code, one);
  code = _mm512_mask_sub_epi32(code, down, code, one);
  return _mm512_cvtepi32_epi8(code);
}

void EncodeQ8(const float* values, int64_t n, std::byte* blocks) {
  constexpr int64_t kBlock = 34;  // binary16 scale, 32 int8
  for (int64_t i = 0; i < n; i += 32, blocks += kBlock) {
    const __m512 low = _mm512_loadu_ps(values + i), high = _mm512_loadu_ps(values + i + 16);
    // max_ps gives its second operand where one is not a number: those are passed over.
    const __m512 top =
        _mm512_max_ps(_mm512_abs_ps(high), _mm512_max_ps(_mm512_abs_ps(low), _mm512_setzero_ps()));
    const float step = _mm512_reduce_max_ps(top) / 127.0f;
    const __m512 inverse = _mm512_set1_ps(step != 0.0f ? 1.0f / step : 0.0f);
    const __m128 stored = _mm_set_ss(step < 65504.0f ? step : 65504.0f);
    const auto bits = static_cast<uint16_t>(
        _mm_cvtsi128_si32(_mm_cvtps_ph(stored, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)));
    __builtin_memcpy(blocks, &bits, sizeof(bits));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(blocks + 2), Codes(low, inverse));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(blocks + 18), Codes(high, inverse));
  }
}

}  // namespace

#define OCTET_ENCODE(format_name, id, function)                                           \
  {                                                                                       \
    .name = "x86_avx512/encode." format_name, .op = KernelOp::kEncode, .isa = kIsaAvx512, \
    .speed = 20, .format = Format::id, .encode = function                                 \
  }

OCTET_KERNELS(x86_avx512_encode) = {
    OCTET_ENCODE("f16", kF16, EncodeF16),
    OCTET_ENCODE("bf16", kBf16, EncodeBf16),
    OCTET_ENCODE("q8_0", kQ8_0, EncodeQ8),
    {},
};

}  // namespace octet
