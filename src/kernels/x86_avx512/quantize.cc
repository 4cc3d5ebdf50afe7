// Activations to int8 blocks (quant/activation.h): every operation is exact or rounds once, so any
// width gives the same bits.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx2/group_scales.h"

namespace octet {
namespace {

/// Adds four neighbouring lanes; every lane of four gets their sum.
__m512i SumFours(__m512i lanes) {
  lanes = _mm512_add_epi32(lanes, _mm512_shuffle_epi32(lanes, _MM_PERM_CDAB));
  return _mm512_add_epi32(lanes, _mm512_shuffle_epi32(lanes, _MM_PERM_BADC));
}

/// Four times sixteen codes side by side.
__m512i Together(__m128i a, __m128i b, __m128i c, __m128i d) {
  const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
  const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(c), d, 1);
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/// Of 16 and of 32 codes. From registers: a load of what four stores have just written waits for
/// them to leave the core.
void Sums(const __m512i codes[4], int16_t* sum16, int16_t* sum32) {
  for (int i = 0; i < 4; ++i) {  // 64 codes, 4 groups of 16
    const __m512i pairs = _mm512_maddubs_epi16(_mm512_set1_epi8(1), codes[i]);
    const __m512i fours = _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
    const __m512i firsts = _mm512_maskz_compress_epi32(0x1111, SumFours(fours));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(sum16 + 4 * i),
                     _mm512_castsi512_si128(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(firsts))));
  }
  const __m256i sums = _mm256_load_si256(reinterpret_cast<const __m256i*>(sum16));
  _mm_store_si128(reinterpret_cast<__m128i*>(sum32),
                  _mm256_cvtepi32_epi16(_mm256_madd_epi16(sums, _mm256_set1_epi16(1))));
}

/// Up to 256 values; those past n are zeros.
void LoadValues(const float* x, int64_t n, __m512 values[16]) {
  for (int i = 0; i < 16; ++i) {
    const int64_t left = n - 16 * i;
    const auto mask = static_cast<__mmask16>(left >= 16  ? 0xffff
                                             : left <= 0 ? 0
                                                         : (1u << left) - 1);
    values[i] = _mm512_maskz_loadu_ps(mask, x + 16 * i);
  }
}

inline __m512i Magnitudes(__m512 x) {
  return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
}

void QuantizeBlock(const float* x, int64_t n, ActivationBlock* out) {
  __m512 values[16];
  LoadValues(x, n, values);
  __m512i top = _mm512_setzero_si512();
  for (int i = 0; i < 16; ++i) top = _mm512_max_epu32(top, Magnitudes(values[i]));
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
  const auto codes = [&](int i) {
    return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(values[i], inverse)));  // to even
  };
  __m512i all[4];
  for (int i = 0; i < 4; ++i) {
    all[i] = Together(codes(4 * i), codes(4 * i + 1), codes(4 * i + 2), codes(4 * i + 3));
    _mm512_store_si512(out->q + 64 * i, all[i]);
  }
  Sums(all, out->sum16, out->sum32);
}

/// A scale per 32.
void QuantizeBlock32(const float* x, int64_t n, ActivationBlock* out) {
  __m512 values[16];
  LoadValues(x, n, values);
  __m256i tops[8];
  for (int g = 0; g < 8; ++g) {
    const __m512i top = _mm512_max_epu32(Magnitudes(values[2 * g]), Magnitudes(values[2 * g + 1]));
    tops[g] = _mm256_max_epu32(_mm512_castsi512_si256(top), _mm512_extracti64x4_epi64(top, 1));
  }
  const GroupScales scales(GreatestOfEach(tops));
  const auto codes = [&](int i) {
    const __m512 inverse = _mm512_set1_ps(scales.inverse[i / 2]);
    const auto keep = static_cast<__mmask16>(scales.keep[i / 2]);
    return _mm512_cvtepi32_epi8(_mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(values[i], inverse)));
  };
  __m512i all[4];
  for (int i = 0; i < 4; ++i) {
    all[i] = Together(codes(4 * i), codes(4 * i + 1), codes(4 * i + 2), codes(4 * i + 3));
    _mm512_store_si512(out->q + 64 * i, all[i]);
  }
  alignas(32) int16_t sum16[16];
  Sums(all, sum16, out->sum32);
  _mm256_store_ps(out->scale32, _mm256_load_ps(scales.scale));
  out->scale = 0.0f;
}

template <void (*kQuantizeBlock)(const float*, int64_t, ActivationBlock*)>
void Quantize(const QuantizeArgs& args) {
  for (int64_t k = 0; k < args.cols; k += kActivationBlock) {
    const int64_t n = args.cols - k < kActivationBlock ? args.cols - k : kActivationBlock;
    kQuantizeBlock(args.x + k, n, args.out + k / kActivationBlock * args.out_stride);
  }
}

}  // namespace

OCTET_KERNELS(x86_avx512_quantize) = {
    {.name = "x86_avx512/quantize",
     .op = KernelOp::kQuantize,
     .isa = kIsaAvx512,
     .speed = 20,
     .quantize = Quantize<QuantizeBlock>,
     .quantize32 = Quantize<QuantizeBlock32>},
    {},
};

}  // namespace octet
