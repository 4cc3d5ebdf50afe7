// Panels of the formats with a step per 32 values (Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL), and
// IQ4_XS, whose groups of 32 have integer scales, times int8 activations.
#include "kernels/x86_avx512_vnni/codes32.h"

namespace octet {
namespace {

/// start[t][b] = -offset · (sum of the 32 activation codes of block b), for codes that count from
/// it.
template <int N>
void OffsetStarts32(const StepX<N>& x, int offset, int32_t (*start)[8]) {
  for (int t = 0; t < N; ++t) {
    const __m256i sums =
        _mm256_cvtepi16_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(x.block[t].sum32)));
    _mm256_store_si256(reinterpret_cast<__m256i*>(start[t]),
                       _mm256_mullo_epi32(sums, _mm256_set1_epi32(-offset)));
  }
}

/// isum[t] of block b: Σ (code - offset) · activation.
template <class C, int N, bool kAhead>
void BlockSums(const std::byte* main, int b, const StepX<N>& x, const int32_t (*start)[8],
               __m512i* isum) {
  __m512i low[N], high[N];
  for (int t = 0; t < N; ++t) {
    low[t] = _mm512_set1_epi32(start[t][b]);
    high[t] = _mm512_setzero_si512();
  }
  for (int w = 0; w < 4; ++w) {
    __m512i low_codes, high_codes;
    C::template Codes<kAhead>(main, b, w, &low_codes, &high_codes);
    for (int t = 0; t < N; ++t) {
      low[t] = _mm512_dpbusd_epi32(low[t], low_codes, x.Four(t, 32 * b + 4 * w));
      high[t] = _mm512_dpbusd_epi32(high[t], high_codes, x.Four(t, 32 * b + 16 + 4 * w));
    }
  }
  for (int t = 0; t < N; ++t) isum[t] = _mm512_add_epi32(low[t], high[t]);
}

/// A float scale a block, and with kMins an offset: value = d · (code - kOffset) + m.
template <class C, bool kMins>
struct FloatBlocks {
  static constexpr int kMainBytes = 64 * C::kWords + (kMins ? 512 : 256), kTailBytes = 0,
                       kGroup = 8;
  static constexpr Activations kActivations = Activations::kInt8Per32;

  template <int N, bool kAhead>
  static void Step(const std::byte* main, const std::byte*, const StepX<N>& x, __m512* acc) {
    alignas(32) int32_t start[N][8];
    OffsetStarts32(x, C::kOffset, start);
    const std::byte* scales = main + 64 * C::kWords;
    for (int i = 0; kAhead && i < (kMins ? 8 : 4); ++i) AskAhead(scales + 64 * i);
    __m512 sum[N];
    for (int t = 0; t < N; ++t) sum[t] = acc[t];
    for (int b = 0; b < 8; ++b) {
      __m512i isum[N];
      BlockSums<C, N, kAhead>(main, b, x, start, isum);
      const __m512 d = LoadHalves(scales + 32 * b);
      const __m512 m = kMins ? LoadHalves(scales + 256 + 32 * b) : d;
      for (int t = 0; t < N; ++t) {
        __m512 v = _mm512_mul_ps(d, _mm512_cvtepi32_ps(isum[t]));
        if (kMins) {
          v = _mm512_fmadd_ps(m, _mm512_set1_ps(static_cast<float>(x.block[t].sum32[b])), v);
        }
        sum[t] = _mm512_fmadd_ps(v, _mm512_set1_ps(x.block[t].scale32[b]), sum[t]);
      }
    }
    for (int t = 0; t < N; ++t) acc[t] = sum[t];
  }
};

struct Iq4_Xs {
  static constexpr int kMainBytes = 2112, kTailBytes = 64, kGroup = 8;
  static constexpr Activations kActivations = Activations::kInt8;

  template <int N, bool kAhead>
  static void Step(const std::byte* main, const std::byte* tail, const StepX<N>& x, __m512* acc) {
    alignas(32) int32_t start[N][8];
    OffsetStarts32(x, Iq4Codes::kOffset, start);
    // Group g: bits 4g of `low`, 2g of `top`.
    const __m512i low = LoadWord<kAhead>(main, 32);
    const __m512i top =
        _mm512_cvtepu16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(tail)));
    __m512i total[N];
    for (int t = 0; t < N; ++t) total[t] = _mm512_setzero_si512();
    for (int g = 0; g < 8; ++g) {
      __m512i isum[N];
      BlockSums<Iq4Codes, N, kAhead>(main, g, x, start, isum);
      const __m512i low_bits =
          _mm512_and_si512(_mm512_srl_epi32(low, _mm_cvtsi32_si128(4 * g)), _mm512_set1_epi32(15));
      const __m512i top_bits =
          _mm512_and_si512(_mm512_srl_epi32(top, _mm_cvtsi32_si128(2 * g)), _mm512_set1_epi32(3));
      const __m512i scale = _mm512_sub_epi32(
          _mm512_or_si512(low_bits, _mm512_slli_epi32(top_bits, 4)), _mm512_set1_epi32(32));
      for (int t = 0; t < N; ++t) {
        total[t] = _mm512_add_epi32(total[t], _mm512_mullo_epi32(isum[t], scale));
      }
    }
    const __m512 d = LoadHalves(tail + 32);
    for (int t = 0; t < N; ++t) {
      const __m512 v = _mm512_mul_ps(d, _mm512_cvtepi32_ps(total[t]));
      acc[t] = _mm512_fmadd_ps(v, x.Scale(t), acc[t]);
    }
  }
};

}  // namespace

using Q4_0 = FloatBlocks<Q4_0Codes, false>;
using Q4_1 = FloatBlocks<Q4_1Codes, true>;
using Q5_0 = FloatBlocks<Q5_0Codes, false>;
using Q5_1 = FloatBlocks<Q5_1Codes, true>;
using Q8_0 = FloatBlocks<Q8_0Codes, false>;
using Iq4_Nl = FloatBlocks<Iq4Codes, false>;

OCTET_KERNELS(x86_avx512_vnni_matmul_blocks32) = {
    OCTET_VNNI_KERNELS("q4_0", kQ4_0, Q4_0),       OCTET_VNNI_KERNELS("q4_1", kQ4_1, Q4_1),
    OCTET_VNNI_KERNELS("q5_0", kQ5_0, Q5_0),       OCTET_VNNI_KERNELS("q5_1", kQ5_1, Q5_1),
    OCTET_VNNI_KERNELS("q8_0", kQ8_0, Q8_0),       OCTET_VNNI_KERNELS("iq4_nl", kIq4_Nl, Iq4_Nl),
    OCTET_VNNI_KERNELS("iq4_xs", kIq4_Xs, Iq4_Xs), {},
};

}  // namespace octet
