// Panels of the formats with a step per 32 values (Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL), and
// IQ4_XS, whose groups of 32 have integer scales, times int8 activations.
#include "kernels/x86_avx512_vnni/codes32.h"
#include "kernels/x86_avx512_vnni/many.h"

namespace octet {
namespace {

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

  static constexpr int64_t kManyTokens = C::kManyTokens;
  static constexpr int kParts = 8;
  // Two steps (measured: one is slower, three are no faster).
  static constexpr int64_t kAheadBytes = 2 * kMainBytes;

  static void Prepare(const std::byte* main, const std::byte*, Unit* unit) {
    unit->main = main;
    if constexpr (C::kKept) {
      for (int b = 0; b < 8; ++b) {
        for (int w = 0; w < 4; ++w)
          C::template Codes<false>(main, b, w, &unit->code[8 * b + w], &unit->code[8 * b + 4 + w]);
      }
    }
  }

  static void Codes(const Unit& unit, int b, int w, __m512i* low, __m512i* high) {
    if constexpr (C::kKept) {
      *low = unit.code[8 * b + w];
      *high = unit.code[8 * b + 4 + w];
    } else {
      C::template Codes<false>(unit.main, b, w, low, high);
    }
  }

  template <int N>
  static __attribute__((noinline)) void Tile(const Unit* unit, const ActivationBlock* block,
                                             TileSums* acc, Ahead ahead) {
    const StepX<N> x{block};
    alignas(32) int32_t start[N][8];
    if (C::kOffset != 0) OffsetStarts32(x, C::kOffset, start);
    __m512 sum[kTilePanels][N];
    for (int p = 0; p < kTilePanels; ++p)
      for (int t = 0; t < N; ++t) sum[p][t] = _mm512_load_ps(acc[t][p]);
#pragma GCC unroll 1
    for (int b = 0; b < 8; ++b) {
      ahead.Ask<false>();
      __m512i isum[kTilePanels][N];
      for (int p = 0; p < kTilePanels; ++p)
        for (int t = 0; t < N; ++t)
          isum[p][t] = C::kOffset != 0 ? _mm512_set1_epi32(start[t][b]) : _mm512_setzero_si512();
#pragma GCC unroll 4
      for (int w = 0; w < 4; ++w) {
        __m512i low[kTilePanels], high[kTilePanels];
        for (int p = 0; p < kTilePanels; ++p) Codes(unit[p], b, w, &low[p], &high[p]);
#pragma GCC unroll 6
        for (int t = 0; t < N; ++t) {
          const __m512i first = x.Four(t, 32 * b + 4 * w), last = x.Four(t, 32 * b + 16 + 4 * w);
          for (int p = 0; p < kTilePanels; ++p) {
            isum[p][t] = _mm512_dpbusd_epi32(isum[p][t], low[p], first);
            isum[p][t] = _mm512_dpbusd_epi32(isum[p][t], high[p], last);
          }
        }
      }
      for (int p = 0; p < kTilePanels; ++p) {
        const std::byte* scales = unit[p].main + 64 * C::kWords + 32 * b;
        const __m512 d = LoadHalves(scales), m = kMins ? LoadHalves(scales + 256) : d;
#pragma GCC unroll 6
        for (int t = 0; t < N; ++t) {
          __m512 v = _mm512_mul_ps(d, _mm512_cvtepi32_ps(isum[p][t]));
          if (kMins)
            v = _mm512_fmadd_ps(m, _mm512_set1_ps(static_cast<float>(block[t].sum32[b])), v);
          sum[p][t] = _mm512_fmadd_ps(v, _mm512_set1_ps(block[t].scale32[b]), sum[p][t]);
        }
      }
    }
    for (int p = 0; p < kTilePanels; ++p)
      for (int t = 0; t < N; ++t) _mm512_store_ps(acc[t][p], sum[p][t]);
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
      const __m512i scale = Scale(low, top, g);
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

  static constexpr int kGroups = 8, kTogether = 1, kOffset = Iq4Codes::kOffset, kMinPairs = 0,
                       kBias = 0;
  static constexpr int64_t kManyTokens = 5;
  static constexpr int kParts = kWordParts;
  static constexpr int64_t kAheadBytes = kWordsAheadBytes;
  static constexpr bool kScaled = true;

  static void Prepare(const std::byte* main, const std::byte* tail, Unit* unit) {
    const __m512i low = LoadWord<false>(main, 32);
    const __m512i top =
        _mm512_cvtepu16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(tail)));
    unit->d = LoadHalves(tail + 32);
    for (int g = 0; g < 8; ++g) {
      unit->scale[g] = Scale(low, top, g);
      for (int w = 0; w < 4; ++w)
        Iq4Codes::Codes<false>(main, g, w, &unit->code[8 * g + w], &unit->code[8 * g + 4 + w]);
    }
  }

  static __m512i Code(const Unit& unit, int g, int j, int w) { return unit.code[8 * (g + j) + w]; }

  template <int N>
  static void Tile(const Unit* unit, const ActivationBlock* x, TileSums* acc, const Ahead& ahead) {
    ScaledTile<Iq4_Xs, N>(unit, x, acc, ahead);
  }

 private:
  static __m512i Scale(__m512i low, __m512i top, int g) {
    const __m512i low_bits =
        _mm512_and_si512(_mm512_srl_epi32(low, _mm_cvtsi32_si128(4 * g)), _mm512_set1_epi32(15));
    const __m512i top_bits =
        _mm512_and_si512(_mm512_srl_epi32(top, _mm_cvtsi32_si128(2 * g)), _mm512_set1_epi32(3));
    return _mm512_sub_epi32(_mm512_or_si512(low_bits, _mm512_slli_epi32(top_bits, 4)),
                            _mm512_set1_epi32(32));
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
