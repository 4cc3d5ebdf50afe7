// Activations to int8 blocks (quant/activation.h): every operation is exact or rounds once, so any
// width gives the same bits.
#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

void Sums(ActivationBlock* out) {
  for (int i = 0; i < 8; ++i) {  // 32 codes, 2 groups of 16
    const __m256i codes = _mm256_load_si256(reinterpret_cast<const __m256i*>(out->q + 32 * i));
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes);
    __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    fours = _mm256_add_epi32(fours, _mm256_shuffle_epi32(fours, 0xb1));
    fours = _mm256_add_epi32(fours, _mm256_shuffle_epi32(fours, 0x4e));
    const int low = _mm256_extract_epi32(fours, 0), high = _mm256_extract_epi32(fours, 4);
    out->sum16[2 * i] = static_cast<int16_t>(low);
    out->sum16[2 * i + 1] = static_cast<int16_t>(high);
    out->sum32[i] = static_cast<int16_t>(low + high);
  }
}

/// 256 values.
void QuantizeBlock(const float* x, ActivationBlock* out) {
  __m256i top = _mm256_setzero_si256();
  for (int i = 0; i < 32; ++i) {
    const __m256i magnitude = _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x + 8 * i)),
                                               _mm256_set1_epi32(0x7fffffff));
    top = _mm256_max_epu32(top, magnitude);
  }
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
  const auto codes = [&](int i) {  // rounds to even
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inverse));
  };
  // The packs interleave 128-bit lanes; the permutation puts groups of four codes back in order.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (int i = 0; i < 32; i += 4) {
    const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(codes(i), codes(i + 1)),
                                              _mm256_packs_epi32(codes(i + 2), codes(i + 3)));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out->q + 8 * i),
                       _mm256_permutevar8x32_epi32(packed, order));
  }
  Sums(out);
}

void Quantize(const QuantizeArgs& args) {
  for (int64_t k = 0; k < args.cols; k += kActivationBlock) {
    ActivationBlock* out = args.out + k / kActivationBlock * args.out_stride;
    if (args.cols - k >= kActivationBlock) {
      QuantizeBlock(args.x + k, out);
      continue;
    }
    float padded[kActivationBlock] = {};
    __builtin_memcpy(padded, args.x + k, static_cast<size_t>(args.cols - k) * sizeof(float));
    QuantizeBlock(padded, out);
  }
}

}  // namespace

OCTET_KERNELS(x86_avx2_quantize) = {
    {.name = "x86_avx2/quantize",
     .op = KernelOp::kQuantize,
     .isa = kIsaAvx2,
     .speed = 10,
     .quantize = Quantize},
    {},
};

}  // namespace octet
