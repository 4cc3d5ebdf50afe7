// Activations to int8 blocks (quant/activation.h): every operation is exact or rounds once, so any
// width gives the same bits.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx2/group_scales.h"

namespace octet {
namespace {

/// Of 16 and of 32 codes.
void Sums(const int8_t* q, int16_t* sum16, int16_t* sum32) {
  for (int i = 0; i < 8; ++i) {  // 32 codes, 2 groups of 16
    const __m256i codes = _mm256_load_si256(reinterpret_cast<const __m256i*>(q + 32 * i));
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes);
    __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    fours = _mm256_add_epi32(fours, _mm256_shuffle_epi32(fours, 0xb1));
    fours = _mm256_add_epi32(fours, _mm256_shuffle_epi32(fours, 0x4e));
    const int low = _mm256_extract_epi32(fours, 0), high = _mm256_extract_epi32(fours, 4);
    sum16[2 * i] = static_cast<int16_t>(low);
    sum16[2 * i + 1] = static_cast<int16_t>(high);
    sum32[i] = static_cast<int16_t>(low + high);
  }
}

inline __m256i Magnitudes(const float* x) {
  return _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x)), _mm256_set1_epi32(0x7fffffff));
}

/// Four registers of codes as 32 bytes.
inline __m256i PackCodes(const __m256i codes[4]) {
  // The packs interleave 128-bit lanes; the permutation puts groups of four codes back in order.
  const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(codes[0], codes[1]),
                                            _mm256_packs_epi32(codes[2], codes[3]));
  return _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/// 32 values; rounds to even.
inline __m256i Codes32(const float* x, __m256 inverse) {
  __m256i codes[4];
  for (int i = 0; i < 4; ++i)
    codes[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inverse));
  return PackCodes(codes);
}

/// 256 values.
void QuantizeBlock(const float* x, ActivationBlock* out) {
  __m256i top = _mm256_setzero_si256();
  for (int i = 0; i < 32; ++i) top = _mm256_max_epu32(top, Magnitudes(x + 8 * i));
  __m128i four = _mm_max_epu32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
  four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0xb1));
  const auto top_bits = static_cast<uint32_t>(_mm_cvtsi128_si32(four));
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
  const __m256 inverse = _mm256_set1_ps(127.0f / greatest);
  for (int i = 0; i < 256; i += 32)
    _mm256_store_si256(reinterpret_cast<__m256i*>(out->q + i), Codes32(x + i, inverse));
  Sums(out->q, out->sum16, out->sum32);
}

/// 256 values, a scale per 32.
void QuantizeBlock32(const float* x, ActivationBlock* out) {
  __m256i tops[8];
  for (int g = 0; g < 8; ++g) {
    tops[g] = Magnitudes(x + 32 * g);
    for (int i = 1; i < 4; ++i) tops[g] = _mm256_max_epu32(tops[g], Magnitudes(x + 32 * g + 8 * i));
  }
  const GroupScales scales(GreatestOfEach(tops));
  for (int g = 0; g < 8; ++g) {
    const __m256i codes = Codes32(x + 32 * g, _mm256_set1_ps(scales.inverse[g]));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out->q + 32 * g),
                       _mm256_and_si256(codes, _mm256_set1_epi32(scales.keep[g])));
  }
  int16_t sum16[16];
  Sums(out->q, sum16, out->sum32);
  _mm256_store_ps(out->scale32, _mm256_load_ps(scales.scale));
  out->scale = 0.0f;
}

template <void (*kQuantizeBlock)(const float*, ActivationBlock*)>
void Quantize(const QuantizeArgs& args) {
  for (int64_t k = 0; k < args.cols; k += kActivationBlock) {
    ActivationBlock* out = args.out + k / kActivationBlock * args.out_stride;
    if (args.cols - k >= kActivationBlock) {
      kQuantizeBlock(args.x + k, out);
      continue;
    }
    float padded[kActivationBlock] = {};
    __builtin_memcpy(padded, args.x + k, static_cast<size_t>(args.cols - k) * sizeof(float));
    kQuantizeBlock(padded, out);
  }
}

}  // namespace

OCTET_KERNELS(x86_avx2_quantize) = {
    {.name = "x86_avx2/quantize",
     .op = KernelOp::kQuantize,
     .isa = kIsaAvx2,
     .speed = 10,
     .quantize = Quantize<QuantizeBlock>,
     .quantize32 = Quantize<QuantizeBlock32>},
    {},
};

}  // namespace octet
