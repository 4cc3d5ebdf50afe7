// Keys and values as pages store them, the bits of the scalar encoders of src/quant.
#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

/// Up to eight values; zeros past n.
__m256 Load(const float* values, int64_t n) {
  if (n >= 8) return _mm256_loadu_ps(values);
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(n)),
                                          _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  return _mm256_maskload_ps(values, mask);
}

void Store(__m128i words, int64_t n, std::byte* out) {
  if (n >= 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), words);
    return;
  }
  alignas(16) uint16_t word[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(word), words);
  __builtin_memcpy(out, word, static_cast<size_t>(n) * 2);
}

/// The low word of every dword.
__m128i Words(__m256i dwords) {
  return _mm_packus_epi32(_mm256_castsi256_si128(dwords), _mm256_extracti128_si256(dwords, 1));
}

void EncodeF16(const float* values, int64_t n, std::byte* blocks) {
  for (int64_t i = 0; i < n; i += 8) {
    const __m256 x = Load(values + i, n - i);
    const __m128i half = _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    // Every NaN becomes the quiet one of its sign.
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m128i is_nan =
        _mm_packs_epi32(_mm256_castsi256_si128(nan), _mm256_extracti128_si256(nan, 1));
    const __m128i quiet =
        _mm_or_si128(_mm_and_si128(half, _mm_set1_epi16(-0x8000)), _mm_set1_epi16(0x7e00));
    Store(_mm_blendv_epi8(half, quiet, is_nan), n - i, blocks + 2 * i);
  }
}

void EncodeBf16(const float* values, int64_t n, std::byte* blocks) {
  for (int64_t i = 0; i < n; i += 8) {
    const __m256 x = Load(values + i, n - i);
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i rounded = _mm256_srli_epi32(_mm256_blendv_epi8(up, quiet, nan), 16);
    Store(Words(rounded), n - i, blocks + 2 * i);
  }
}

/// Eight codes: to the nearest integer, ties away from zero; what is not a number becomes -127.
__m256i Codes(__m256 x, __m256 inverse) {
  const __m256 top = _mm256_set1_ps(127.0f), bottom = _mm256_set1_ps(-127.0f);
  const __m256 v = _mm256_min_ps(_mm256_max_ps(_mm256_mul_ps(x, inverse), bottom), top);
  const __m256 even = _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m256 rest = _mm256_sub_ps(v, even), zero = _mm256_setzero_ps();
  const __m256 up = _mm256_and_ps(_mm256_cmp_ps(v, zero, _CMP_GT_OQ),
                                  _mm256_cmp_ps(rest, _mm256_set1_ps(0.5f), _CMP_EQ_OQ));
  const __m256 down = _mm256_and_ps(_mm256_cmp_ps(v, zero, _CMP_LT_OQ),
                                    _mm256_cmp_ps(rest, _mm256_set1_ps(-0.5f), _CMP_EQ_OQ));
  // Masks are -1 where they hold.
  const __m256i code = _mm256_sub_epi32(_mm256_cvttps_epi32(even), _mm256_castps_si256(up));
  return _mm256_add_epi32(code, _mm256_castps_si256(down));
}

void EncodeQ8(const float* values, int64_t n, std::byte* blocks) {
  constexpr int64_t kBlock = 34;  // binary16 scale, 32 int8
  const __m256 sign = _mm256_set1_ps(-0.0f);
  for (int64_t i = 0; i < n; i += 32, blocks += kBlock) {
    // max_ps gives its second operand where one is not a number: those are passed over.
    __m256 top = _mm256_setzero_ps();
    for (int j = 0; j < 32; j += 8)
      top = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_loadu_ps(values + i + j)), top);
    __m128 most = _mm_max_ps(_mm256_castps256_ps128(top), _mm256_extractf128_ps(top, 1));
    most = _mm_max_ps(most, _mm_movehl_ps(most, most));
    most = _mm_max_ss(most, _mm_movehdup_ps(most));
    const float step = _mm_cvtss_f32(most) / 127.0f;
    const __m256 inverse = _mm256_set1_ps(step != 0.0f ? 1.0f / step : 0.0f);
    const __m128 stored = _mm_set_ss(step < 65504.0f ? step : 65504.0f);
    const auto bits = static_cast<uint16_t>(
        _mm_cvtsi128_si32(_mm_cvtps_ph(stored, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)));
    __builtin_memcpy(blocks, &bits, sizeof(bits));
    for (int j = 0; j < 32; j += 8) {
      const __m256i code = Codes(_mm256_loadu_ps(values + i + j), inverse);
      const __m128i words =
          _mm_packs_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(blocks + 2 + j), _mm_packs_epi16(words, words));
    }
  }
}

}  // namespace

#define OCTET_ENCODE(format_name, id, function)                                                    \
  {                                                                                                \
    .name = "x86_avx2/encode." format_name, .op = KernelOp::kEncode, .isa = kIsaAvx2, .speed = 10, \
    .format = Format::id, .encode = function                                                       \
  }

OCTET_KERNELS(x86_avx2_encode) = {
    OCTET_ENCODE("f16", kF16, EncodeF16),
    OCTET_ENCODE("bf16", kBf16, EncodeBf16),
    OCTET_ENCODE("q8_0", kQ8_0, EncodeQ8),
    {},
};

}  // namespace octet
