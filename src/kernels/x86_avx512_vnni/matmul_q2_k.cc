// Q2_K panels times int8 activations: groups of 16 values, 4-bit scales and minima.
#include "kernels/x86_avx512_vnni/many.h"

namespace octet {
namespace {

struct Q2_K {
  static constexpr int kMainBytes = 1280, kTailBytes = 64, kGroup = 4;
  static constexpr Activations kActivations = Activations::kInt8;

  /// Minima of groups 2 · pair and 2 · pair + 1. A scale word holds groups 4i … 4i + 3.
  static __m512i MinPair(const __m512i* words, int pair) {
    const __m512i minima =
        _mm512_and_si512(_mm512_srli_epi16(words[pair / 2], 4), _mm512_set1_epi8(0x0f));
    return BytePair(minima, pair % 2);
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
    __m512i mins[8];
    for (int pair = 0; pair < 8; ++pair) mins[pair] = MinPair(words, pair);
    for (int t = 0; t < N; ++t) {
      const __m512 v = _mm512_mul_ps(d, _mm512_cvtepi32_ps(isum[t]));
      const __m512 least =
          _mm512_cvtepi32_ps(PairSum<8>(mins, x.block[t].sum16, _mm512_setzero_si512()));
      acc[t] = _mm512_fmadd_ps(_mm512_fnmadd_ps(dmin, least, v), x.Scale(t), acc[t]);
    }
  }

  // A scale times a code is at most 45.
  static constexpr int kGroups = 8, kTogether = 1, kOffset = 0, kMinPairs = 8, kBias = 0;
  static constexpr int64_t kManyTokens = 5;
  static constexpr int kParts = kWordParts;
  static constexpr int64_t kAheadBytes = kWordsAheadBytes;
  static constexpr bool kScaled = false;

  static void Prepare(const std::byte* main, const std::byte* tail, Unit* unit) {
    const __m512i crumb = _mm512_set1_epi8(3), nibble = _mm512_set1_epi8(0x0f);
    __m512i words[4];
    for (int i = 0; i < 4; ++i) words[i] = LoadWord<false>(main, 16 + i);
    for (int pair = 0; pair < 8; ++pair) unit->min_pair[pair] = MinPair(words, pair);
    unit->d = LoadHalves(tail);
    unit->dmin = LoadHalves(tail + 32);
#pragma GCC unroll 8
    for (int run = 0; run < 8; ++run) {
      for (int g = 0; g < 8; ++g) {
        const int group = 2 * run + g / 4;
        const __m512i word = LoadWord<false>(main, 8 * (run / 4) + g);
        const __m512i code =
            _mm512_and_si512(_mm512_srli_epi16(word, static_cast<unsigned>(2 * (run % 4))), crumb);
        const __m512i scale = UnsignedByte(_mm512_and_si512(words[group / 4], nibble), group % 4);
        unit->code[8 * run + g] = ScaledBytes(code, BothHalves(scale), 0, 0);
      }
    }
  }

  static __m512i Code(const Unit& unit, int g, int j, int w) { return unit.code[8 * (g + j) + w]; }

  template <int N>
  static void Tile(const Unit* unit, const ActivationBlock* x, TileSums* acc, const Ahead& ahead) {
    ScaledTile<Q2_K, N>(unit, x, acc, ahead);
  }
};

}  // namespace

OCTET_KERNELS(x86_avx512_vnni_matmul_q2_k) = {
    OCTET_VNNI_KERNELS("q2_k", kQ2_K, Q2_K),
    {},
};

}  // namespace octet
