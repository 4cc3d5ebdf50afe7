// Activations to int8 blocks (quant/activation.h): every operation is exact or rounds once, so any
// width gives the same bits.
#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

/// Adds four neighbouring lanes; every lane of four gets their sum.
__m512i SumFours(__m512i lanes) {
  lanes = _mm512_add_epi32(lanes, _mm512_shuffle_epi32(lanes, _MM_PERM_CDAB));
  return _mm512_add_epi32(lanes, _mm512_shuffle_epi32(lanes, _MM_PERM_BADC));
}

void Sums(ActivationBlock* out) {
  for (int i = 0; i < 4; ++i) {  // 64 codes, 4 groups of 16
    const __m512i pairs =
        _mm512_maddubs_epi16(_mm512_set1_epi8(1), _mm512_load_si512(out->q + 64 * i));
    const __m512i fours = _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
    const __m512i firsts = _mm512_maskz_compress_epi32(0x1111, SumFours(fours));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out->sum16 + 4 * i),
                     _mm512_castsi512_si128(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(firsts))));
  }
  const __m256i sum16 = _mm256_load_si256(reinterpret_cast<const __m256i*>(out->sum16));
  _mm_store_si128(reinterpret_cast<__m128i*>(out->sum32),
                  _mm256_cvtepi32_epi16(_mm256_madd_epi16(sum16, _mm256_set1_epi16(1))));
}

/// Up to 256 values; those past n are zeros.
void QuantizeBlock(const float* x, int64_t n, ActivationBlock* out) {
  __m512 values[16];
  __m512i top = _mm512_setzero_si512();
  for (int i = 0; i < 16; ++i) {
    const int64_t left = n - 16 * i;
    const auto mask = static_cast<__mmask16>(left >= 16  ? 0xffff
                                             : left <= 0 ? 0
                                                         : (1u << left) - 1);
    values[i] = _mm512_maskz_loadu_ps(mask, x + 16 * i);
    const __m512i magnitude =
        _mm512_and_si512(_mm512_castps_si512(values[i]), _mm512_set1_epi32(0x7fffffff));
    top = _mm512_max_epu32(top, magnitude);
  }
  const uint32_t top_bits = _mm512_reduce_max_epu32(top);
  float greatest;
  __builtin_memcpy(&greatest, &top_bits, sizeof(greatest));
  constexpr uint32_t kInfinity = 0x7f800000;
  const bool finite = top_bits < kInfinity;
  if (!finite || greatest < 0x1p-100f) {
    __builtin_memset(out, 0, sizeof(*out));
    if (!finite) out->scale = __builtin_nanf("");
    return;
  }
  out->scale = greatest / 127.0f;
  const __m512 inverse = _mm512_set1_ps(127.0f / greatest);
  for (int i = 0; i < 16; ++i) {
    const __m512i codes = _mm512_cvtps_epi32(_mm512_mul_ps(values[i], inverse));  // to even
    _mm_store_si128(reinterpret_cast<__m128i*>(out->q + 16 * i), _mm512_cvtepi32_epi8(codes));
  }
  Sums(out);
}

void Quantize(const QuantizeArgs& args) {
  for (int64_t k = 0; k < args.cols; k += kActivationBlock) {
    const int64_t n = args.cols - k < kActivationBlock ? args.cols - k : kActivationBlock;
    QuantizeBlock(args.x + k, n, args.out + k / kActivationBlock * args.out_stride);
  }
}

}  // namespace

OCTET_KERNELS(x86_avx512_quantize) = {
    {.name = "x86_avx512/quantize",
     .op = KernelOp::kQuantize,
     .isa = kIsaAvx512,
     .speed = 20,
     .quantize = Quantize},
    {},
};

}  // namespace octet
