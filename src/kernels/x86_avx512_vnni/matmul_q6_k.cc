// Q6_K and Q3_K panels times int8 activations: groups of 16 values, signed scales, codes with an
// offset that the accumulators start with.
#include "kernels/x86_avx512_vnni/many.h"

namespace octet {
namespace {

/// acc[t] += scale · d · isum, rounded as quant/integer_dot.h says.
template <int N>
void AddStep(const std::byte* tail, const __m512i* isum, const StepX<N>& x, __m512* acc) {
  const __m512 d = LoadHalves(tail);
  for (int t = 0; t < N; ++t) {
    acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_cvtepi32_ps(isum[t])), x.Scale(t), acc[t]);
  }
}

struct Q6_K {
  static constexpr int kMainBytes = 3328, kTailBytes = 32, kGroup = 4;
  static constexpr Activations kActivations = Activations::kInt8;

  /// The codes of runs 0…3 (32 values each) of half h at word g of the runs.
  template <bool kAhead>
  static void Codes(const std::byte* main, int h, int g, __m512i* code) {
    const __m512i nibble = _mm512_set1_epi8(0x0f), crumb = _mm512_set1_epi8(0x30);
    const __m512i a = LoadWord<kAhead>(main, 16 * h + g),
                  b = LoadWord<kAhead>(main, 16 * h + 8 + g);
    const __m512i top = LoadWord<kAhead>(main, 32 + 8 * h + g);
    // (nibble & x) | (~nibble & y): y has only bits 4 and 5.
    const auto join = [&](__m512i x, __m512i y) {
      return _mm512_ternarylogic_epi32(nibble, x, _mm512_and_si512(y, crumb), 0xca);
    };
    code[0] = join(a, _mm512_slli_epi16(top, 4));
    code[1] = join(b, _mm512_slli_epi16(top, 2));
    code[2] = join(_mm512_srli_epi16(a, 4), top);
    code[3] = join(_mm512_srli_epi16(b, 4), _mm512_srli_epi16(top, 2));
  }

  template <int N, bool kAhead>
  static void Step(const std::byte* main, const std::byte* tail, const StepX<N>& x, __m512* acc) {
    alignas(64) int32_t start[N][16];
    OffsetStarts(x, 32, start);
    __m512i isum[N];
    for (int t = 0; t < N; ++t) isum[t] = _mm512_setzero_si512();
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m512i scales[2] = {LoadWord<kAhead>(main, 48 + 2 * h),
                                 LoadWord<kAhead>(main, 49 + 2 * h)};
      for (int quad = 0; quad < 2; ++quad) {  // the 16 values of each run that form a group
        __m512i sum[N][4];
        for (int t = 0; t < N; ++t)
          for (int run = 0; run < 4; ++run)
            sum[t][run] = _mm512_set1_epi32(start[t][8 * h + 2 * run + quad]);
        for (int g = 4 * quad; g < 4 * quad + 4; ++g) {
          __m512i code[4];
          Codes<kAhead>(main, h, g, code);
          for (int t = 0; t < N; ++t)
            for (int run = 0; run < 4; ++run)
              sum[t][run] = _mm512_dpbusd_epi32(sum[t][run], code[run],
                                                x.Four(t, 128 * h + 32 * run + 4 * g));
        }
        for (int run = 0; run < 4; ++run) {
          const __m512i scale = SignedByte(scales[run / 2], 2 * (run % 2) + quad);
          for (int t = 0; t < N; ++t)
            isum[t] = _mm512_add_epi32(isum[t], _mm512_mullo_epi32(sum[t][run], scale));
        }
      }
    }
    AddStep(tail, isum, x, acc);
  }

  static constexpr int kGroups = 16, kTogether = 1, kOffset = 32, kMinPairs = 0, kBias = 0;
  static constexpr int64_t kManyTokens = 5;
  static constexpr int kParts = kWordParts;
  static constexpr int64_t kAheadBytes = kWordsAheadBytes;
  static constexpr bool kScaled = true;

  static void Prepare(const std::byte* main, const std::byte* tail, Unit* unit) {
    unit->d = LoadHalves(tail);
    for (int i = 0; i < 4; ++i) {
      const __m512i scales = LoadWord<false>(main, 48 + i);
      for (int j = 0; j < 4; ++j) unit->scale[4 * i + j] = SignedByte(scales, j);
    }
    for (int h = 0; h < 2; ++h) {
      for (int g = 0; g < 8; ++g) {
        __m512i code[4];
        Codes<false>(main, h, g, code);
        for (int run = 0; run < 4; ++run) unit->code[32 * h + 8 * run + g] = code[run];
      }
    }
  }

  static __m512i Code(const Unit& unit, int g, int j, int w) { return unit.code[4 * (g + j) + w]; }

  template <int N>
  static void Tile(const Unit* unit, const ActivationBlock* x, TileSums* acc, const Ahead& ahead) {
    ScaledTile<Q6_K, N>(unit, x, acc, ahead);
  }
};

struct Q3_K {
  static constexpr int kMainBytes = 1728, kTailBytes = 32, kGroup = 4;
  static constexpr Activations kActivations = Activations::kInt8;

  /// Scales of groups 4i … 4i + 3 as bytes, 0…63; 32 above their value.
  template <bool kAhead>
  static void UnpackScales(const std::byte* main, __m512i* scales) {
    const __m512i z0 = LoadWord<kAhead>(main, 24), z1 = LoadWord<kAhead>(main, 25),
                  z2 = LoadWord<kAhead>(main, 26);
    const __m512i low = _mm512_set1_epi8(0x0f), top = _mm512_set1_epi8(0x30);
    const auto join = [&](__m512i low_bits, __m512i high_bits) {
      return _mm512_or_si512(_mm512_and_si512(low_bits, low), _mm512_and_si512(high_bits, top));
    };
    scales[0] = join(z0, _mm512_slli_epi32(z2, 4));
    scales[1] = join(z1, _mm512_slli_epi32(z2, 2));
    scales[2] = join(_mm512_srli_epi32(z0, 4), z2);
    scales[3] = join(_mm512_srli_epi32(z1, 4), _mm512_srli_epi32(z2, 2));
  }

  template <int N, bool kAhead>
  static void Step(const std::byte* main, const std::byte* tail, const StepX<N>& x, __m512* acc) {
    const __m512i crumb = _mm512_set1_epi8(3), third = _mm512_set1_epi8(4);
    alignas(64) int32_t start[N][16];
    OffsetStarts(x, 4, start);
    __m512i scales[4];
    UnpackScales<kAhead>(main, scales);
    __m512i isum[N];
    for (int t = 0; t < N; ++t) isum[t] = _mm512_setzero_si512();
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      for (int quad = 0; quad < 2; ++quad) {
        __m512i sum[N][4];
        for (int t = 0; t < N; ++t)
          for (int run = 0; run < 4; ++run)
            sum[t][run] = _mm512_set1_epi32(start[t][8 * h + 2 * run + quad]);
        for (int g = 4 * quad; g < 4 * quad + 4; ++g) {
          const __m512i word = LoadWord<kAhead>(main, 8 * h + g);
          const __m512i bits =
              h == 0 ? LoadWord<kAhead>(main, 16 + g) : _mm512_load_si512(main + 64 * (16 + g));
#pragma GCC unroll 4
          for (int run = 0; run < 4; ++run) {
            const int group = 4 * h + run;  // bit of the byte that is the third bit of this run
            const __m512i moved = group < 2
                                      ? _mm512_slli_epi16(bits, static_cast<unsigned>(2 - group))
                                      : _mm512_srli_epi16(bits, static_cast<unsigned>(group - 2));
            const __m512i low =
                _mm512_and_si512(_mm512_srli_epi16(word, static_cast<unsigned>(2 * run)), crumb);
            // low | (moved & third)
            const __m512i code = _mm512_ternarylogic_epi32(low, moved, third, 0xf8);
            for (int t = 0; t < N; ++t)
              sum[t][run] =
                  _mm512_dpbusd_epi32(sum[t][run], code, x.Four(t, 128 * h + 32 * run + 4 * g));
          }
        }
        AddScaledPairs<N>(
            [&](int pair) {
              const __m512i shifted =
                  _mm512_srli_epi32(scales[2 * h + pair], static_cast<unsigned>(8 * quad));
              return _mm512_sub_epi16(_mm512_and_si512(shifted, _mm512_set1_epi32(0x00ff00ff)),
                                      _mm512_set1_epi16(32));
            },
            sum, isum);
      }
    }
    AddStep(tail, isum, x, acc);
  }

  // A scale times a weight lies in [-124, 128]; 124 more fit one unsigned byte.
  static constexpr int kGroups = 8, kTogether = 1, kOffset = 0, kMinPairs = 0, kBias = 124;
  static constexpr int64_t kManyTokens = 5;
  static constexpr int kParts = kWordParts;
  static constexpr int64_t kAheadBytes = kWordsAheadBytes;
  static constexpr bool kScaled = false;

  static void Prepare(const std::byte* main, const std::byte* tail, Unit* unit) {
    const __m512i crumb = _mm512_set1_epi8(3), third = _mm512_set1_epi8(4);
    unit->d = LoadHalves(tail);
    __m512i scales[4];
    UnpackScales<false>(main, scales);
    __m512i bits[8];
    for (int g = 0; g < 8; ++g) bits[g] = LoadWord<false>(main, 16 + g);
#pragma GCC unroll 8
    for (int run = 0; run < 8; ++run) {  // 32 values, whose third bit is bit `run` of a byte
      for (int g = 0; g < 8; ++g) {
        const int group = 2 * run + g / 4;
        const __m512i word = LoadWord<false>(main, 8 * (run / 4) + g);
        const __m512i moved = run < 2 ? _mm512_slli_epi16(bits[g], static_cast<unsigned>(2 - run))
                                      : _mm512_srli_epi16(bits[g], static_cast<unsigned>(run - 2));
        const __m512i low =
            _mm512_and_si512(_mm512_srli_epi16(word, static_cast<unsigned>(2 * (run % 4))), crumb);
        const __m512i scale = _mm512_sub_epi16(
            BothHalves(UnsignedByte(scales[group / 4], group % 4)), _mm512_set1_epi16(32));
        unit->code[8 * run + g] =
            ScaledBytes(_mm512_ternarylogic_epi32(low, moved, third, 0xf8), scale, 4, kBias);
      }
    }
  }

  static __m512i Code(const Unit& unit, int g, int j, int w) { return unit.code[8 * (g + j) + w]; }

  template <int N>
  static void Tile(const Unit* unit, const ActivationBlock* x, TileSums* acc, const Ahead& ahead) {
    ScaledTile<Q3_K, N>(unit, x, acc, ahead);
  }
};

}  // namespace

OCTET_KERNELS(x86_avx512_vnni_matmul_q6_k) = {
    OCTET_VNNI_KERNELS("q6_k", kQ6_K, Q6_K),
    OCTET_VNNI_KERNELS("q3_k", kQ3_K, Q3_K),
    {},
};

}  // namespace octet
