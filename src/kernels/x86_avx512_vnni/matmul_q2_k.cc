// Q2_K panels times int8 activations: groups of 16 values, 4-bit scales and minima.
#include "kernels/x86_avx512_vnni/panel.h"

namespace octet {
namespace {

struct Q2_K {
  static constexpr int kMainBytes = 1280, kTailBytes = 64, kGroup = 4;
  static constexpr Activations kActivations = Activations::kInt8;

  /// Σ min · (sum of the group's activation codes) of token t. A scale word holds groups 4i … 4i +
  /// 3, its even and odd bytes are pairs of int16: groups (0,2) and (1,3).
  template <int N>
  static __m512i MinSum(const __m512i* words, const StepX<N>& x, int t) {
    const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15,  //
                                           0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
    alignas(32) int32_t pairs[8];
    _mm256_store_si256(
        reinterpret_cast<__m256i*>(pairs),
        _mm256_shuffle_epi8(_mm256_load_si256(reinterpret_cast<const __m256i*>(x.block[t].sum16)),
                            order));
    const __m512i nibble = _mm512_set1_epi32(0x000f000f);
    __m512i sum = _mm512_setzero_si512();
    for (int i = 0; i < 4; ++i) {
      const __m512i even = _mm512_and_si512(_mm512_srli_epi32(words[i], 4), nibble);
      const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(words[i], 12), nibble);
      sum = _mm512_dpwssd_epi32(sum, even, _mm512_set1_epi32(pairs[2 * i]));
      sum = _mm512_dpwssd_epi32(sum, odd, _mm512_set1_epi32(pairs[2 * i + 1]));
    }
    return sum;
  }

  template <int N, bool kAhead>
  static void Step(const std::byte* main, const std::byte* tail, const StepX<N>& x, __m512* acc) {
    const __m512i crumb = _mm512_set1_epi8(3);
    __m512i words[4];
    for (int i = 0; i < 4; ++i) words[i] = LoadWord<kAhead>(main, 16 + i);
    __m512i isum[N];
    for (int t = 0; t < N; ++t) isum[t] = _mm512_setzero_si512();
    for (int h = 0; h < 2; ++h) {
      for (int quad = 0; quad < 2; ++quad) {  // the 16 values of each run that form a group
        __m512i sum[N][4];
        for (int t = 0; t < N; ++t)
          for (int run = 0; run < 4; ++run) sum[t][run] = _mm512_setzero_si512();
        for (int g = 4 * quad; g < 4 * quad + 4; ++g) {
          const __m512i word = LoadWord<kAhead>(main, 8 * h + g);
#pragma GCC unroll 4
          for (int run = 0; run < 4; ++run) {
            const __m512i code =
                _mm512_and_si512(_mm512_srli_epi16(word, static_cast<unsigned>(2 * run)), crumb);
            for (int t = 0; t < N; ++t)
              sum[t][run] =
                  _mm512_dpbusd_epi32(sum[t][run], code, x.Four(t, 128 * h + 32 * run + 4 * g));
          }
        }
        AddScaledPairs<N>(
            [&](int pair) {
              const __m512i shifted =
                  _mm512_srli_epi32(words[2 * h + pair], static_cast<unsigned>(8 * quad));
              return _mm512_and_si512(shifted, _mm512_set1_epi32(0x000f000f));
            },
            sum, isum);
      }
    }
    const __m512 d = LoadHalves(tail), dmin = LoadHalves(tail + 32);
    for (int t = 0; t < N; ++t) {
      const __m512 v = _mm512_mul_ps(d, _mm512_cvtepi32_ps(isum[t]));
      const __m512 least = _mm512_cvtepi32_ps(MinSum(words, x, t));
      acc[t] = _mm512_fmadd_ps(_mm512_fnmadd_ps(dmin, least, v), x.Scale(t), acc[t]);
    }
  }
};

}  // namespace

OCTET_KERNELS(x86_avx512_vnni_matmul_q2_k) = {
    OCTET_VNNI_KERNELS("q2_k", kQ2_K, Q2_K),
    {},
};

}  // namespace octet
