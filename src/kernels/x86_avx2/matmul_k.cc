// Panels of the formats with integer scales times int8 activations. Code(main, w) gives the
// unsigned codes of k = 4w … 4w + 3; kWords words of products fit the 16-bit sums.
#include "kernels/x86_avx2/panel.h"

namespace octet {
namespace {

/// Byte j of every 32-bit lane in both of its 16-bit halves.
inline __m256i ScalePair(__m256i words, int j) {
  const __m256i lane =
      _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x00040004, 0x00080008, 0x000c000c));
  const int pattern = static_cast<int>(0x80008000u) | j | j << 16;
  return _mm256_shuffle_epi8(words, _mm256_add_epi32(lane, _mm256_set1_epi32(pattern)));
}
inline __m256i SignedScalePair(__m256i words, int j) {
  const __m256i pair = ScalePair(words, j);
  return _mm256_srai_epi16(_mm256_slli_epi16(pair, 8), 8);
}

/// isum[t] = Σ_g scale[g] · Σ code · activation, over kGroups groups.
template <class F, int N>
inline void ScaledSums(const std::byte* main, const ActivationBlock* x, const __m256i* scale,
                       __m256i* isum) {
  constexpr int kGroupWords = 64 / F::kGroups;
  for (int t = 0; t < N; ++t) isum[t] = _mm256_setzero_si256();
  for (int g = 0; g < F::kGroups; ++g) {
    for (int first = g * kGroupWords; first < (g + 1) * kGroupWords; first += F::kWords) {
      __m256i pairs[N];
      for (int t = 0; t < N; ++t) pairs[t] = _mm256_setzero_si256();
      for (int w = first; w < first + F::kWords; ++w) {
        const __m256i code = F::Code(main, w);
        for (int t = 0; t < N; ++t) {
          pairs[t] = _mm256_add_epi16(pairs[t], _mm256_maddubs_epi16(code, Four(x[t], w)));
        }
      }
      for (int t = 0; t < N; ++t) {
        isum[t] = _mm256_add_epi32(isum[t], _mm256_madd_epi16(pairs[t], scale[g]));
      }
    }
  }
}

/// Σ_g factor[g] · sum[g]: the factors' halves both hold g's, so the sum goes to one of them.
inline __m256i WeightedSums(const __m256i* factor, const int16_t* sum, int groups) {
  __m256i total = _mm256_setzero_si256();
  for (int g = 0; g < groups; ++g) {
    const __m256i low = _mm256_set1_epi32(static_cast<uint16_t>(sum[g]));
    total = _mm256_add_epi32(total, _mm256_madd_epi16(factor[g], low));
  }
  return total;
}

/// acc[t] += scale · (d · isum − dmin · imin), rounded as quant/integer_dot.h says.
inline __m256 AddWithMins(const std::byte* tail, __m256i isum, __m256i imin, float scale,
                          __m256 acc) {
  const __m256 v = _mm256_mul_ps(LoadHalves(tail), _mm256_cvtepi32_ps(isum));
  const __m256 with_min = _mm256_fnmadd_ps(LoadHalves(tail + 32), _mm256_cvtepi32_ps(imin), v);
  return _mm256_fmadd_ps(with_min, _mm256_set1_ps(scale), acc);
}
inline __m256 Add(const std::byte* d, __m256i isum, float scale, __m256 acc) {
  const __m256 v = _mm256_mul_ps(LoadHalves(d), _mm256_cvtepi32_ps(isum));
  return _mm256_fmadd_ps(v, _mm256_set1_ps(scale), acc);
}

/// Q4_K and Q5_K: F adds where the scales lie and the codes.
template <class F>
struct SixBitScales {
  static constexpr int kGroups = 8, kTailBytes = 64;
  static constexpr Activations kActivations = Activations::kInt8;

  template <int N>
  static void Step(const std::byte* main, const std::byte* tail, const ActivationBlock* x,
                   __m256* acc) {
    const __m256i z0 = LoadWord(main, F::kScalesAt), z1 = LoadWord(main, F::kScalesAt + 1),
                  z2 = LoadWord(main, F::kScalesAt + 2);
    const __m256i top = _mm256_set1_epi8(0x30);
    const auto second = [&](__m256i low, __m256i high) {
      return _mm256_or_si256(low, _mm256_and_si256(_mm256_srli_epi32(high, 2), top));
    };
    // Byte j: groups j and 4 + j.
    const __m256i scales[2] = {Field(z0, 0, 0x3f), second(Field(z2, 0, 15), z0)};
    const __m256i mins[2] = {Field(z1, 0, 0x3f), second(Field(z2, 4, 15), z1)};
    __m256i scale[8], min[8];
    for (int g = 0; g < 8; ++g) {
      scale[g] = ScalePair(scales[g / 4], g % 4);
      min[g] = ScalePair(mins[g / 4], g % 4);
    }
    __m256i isum[N];
    ScaledSums<F, N>(main, x, scale, isum);
    for (int t = 0; t < N; ++t) {
      acc[t] = AddWithMins(tail, isum[t], WeightedSums(min, x[t].sum32, 8), x[t].scale, acc[t]);
    }
  }
};

struct Q4_K : SixBitScales<Q4_K> {
  static constexpr int kMainBytes = 2240, kScalesAt = 32, kWords = 8;
  static __m256i Code(const std::byte* main, int w) {
    return Field(LoadWord(main, 8 * (w / 16) + w % 8), 4 * (w / 8 % 2), 15);
  }
};

struct Q5_K : SixBitScales<Q5_K> {
  static constexpr int kMainBytes = 2752, kScalesAt = 40, kWords = 4;
  static __m256i Code(const std::byte* main, int w) {
    const __m256i fifth = Field(LoadWord(main, 32 + w % 8), w / 8, 1);
    return _mm256_or_si256(Q4_K::Code(main, w), _mm256_slli_epi16(fifth, 4));
  }
};

struct Q2_K {
  static constexpr int kMainBytes = 1280, kTailBytes = 64, kGroups = 16, kWords = 4;
  static constexpr Activations kActivations = Activations::kInt8;
  static __m256i Code(const std::byte* main, int w) {
    return Field(LoadWord(main, 8 * (w / 32) + w % 8), 2 * (w / 8 % 4), 3);
  }
  template <int N>
  static void Step(const std::byte* main, const std::byte* tail, const ActivationBlock* x,
                   __m256* acc) {
    __m256i scale[16], min[16];
    for (int g = 0; g < 16; ++g) {
      const __m256i word = LoadWord(main, 16 + g / 4);
      scale[g] = ScalePair(Field(word, 0, 15), g % 4);
      min[g] = ScalePair(Field(word, 4, 15), g % 4);
    }
    __m256i isum[N];
    ScaledSums<Q2_K, N>(main, x, scale, isum);
    for (int t = 0; t < N; ++t) {
      acc[t] = AddWithMins(tail, isum[t], WeightedSums(min, x[t].sum16, 16), x[t].scale, acc[t]);
    }
  }
};

/// Q6_K and Q3_K: sixteen signed scales, codes that lie kOffset above their values.
template <class F>
struct OffsetCodes {
  static constexpr int kGroups = 16, kTailBytes = 32;
  static constexpr Activations kActivations = Activations::kInt8;

  template <int N>
  static void Step(const std::byte* main, const std::byte* tail, const ActivationBlock* x,
                   __m256* acc) {
    __m256i scale[16];
    for (int g = 0; g < 16; ++g) scale[g] = F::Scale(main, g);
    __m256i isum[N];
    ScaledSums<F, N>(main, x, scale, isum);
    for (int t = 0; t < N; ++t) {
      const __m256i above =
          _mm256_mullo_epi32(WeightedSums(scale, x[t].sum16, 16), _mm256_set1_epi32(F::kOffset));
      acc[t] = Add(tail, _mm256_sub_epi32(isum[t], above), x[t].scale, acc[t]);
    }
  }
};

struct Q6_K : OffsetCodes<Q6_K> {
  static constexpr int kMainBytes = 3328, kOffset = 32, kWords = 2;
  static __m256i Scale(const std::byte* main, int g) {
    return SignedScalePair(LoadWord(main, 48 + g / 4), g % 4);
  }
  static __m256i Code(const std::byte* main, int w) {
    const int h = w / 32, run = w / 8 % 4, g = w % 8;
    const __m256i low = Field(LoadWord(main, 16 * h + 8 * (run % 2) + g), 4 * (run / 2), 15);
    const __m256i top = Field(LoadWord(main, 32 + 8 * h + g), 2 * run, 3);
    return _mm256_or_si256(low, _mm256_slli_epi16(top, 4));
  }
};

struct Q3_K : OffsetCodes<Q3_K> {
  static constexpr int kMainBytes = 1728, kOffset = 4, kWords = 4;
  static __m256i Scale(const std::byte* main, int g) {
    const __m256i low = Field(LoadWord(main, 24 + g / 4 % 2), 4 * (g / 8), 15);
    const __m256i top = Field(LoadWord(main, 26), 2 * (g / 4), 3);
    const __m256i sum = _mm256_or_si256(low, _mm256_slli_epi16(top, 4));
    return SignedScalePair(_mm256_sub_epi8(sum, _mm256_set1_epi8(32)), g % 4);
  }
  static __m256i Code(const std::byte* main, int w) {
    const __m256i third = Field(LoadWord(main, 16 + w % 8), w / 8, 1);
    return _mm256_or_si256(Q2_K::Code(main, w), _mm256_slli_epi16(third, 2));
  }
};

}  // namespace

OCTET_KERNELS(x86_avx2_matmul_k) = {
    OCTET_AVX2_KERNEL("q4_k", kQ4_K, Q4_K), OCTET_AVX2_KERNEL("q5_k", kQ5_K, Q5_K),
    OCTET_AVX2_KERNEL("q6_k", kQ6_K, Q6_K), OCTET_AVX2_KERNEL("q3_k", kQ3_K, Q3_K),
    OCTET_AVX2_KERNEL("q2_k", kQ2_K, Q2_K), {},
};

}  // namespace octet
