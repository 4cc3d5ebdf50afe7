// Panels of the formats with blocks of 32 values times int8 activations. Weight(main, w) gives the
// signed weights of k = 4w … 4w + 3. vpmaddubsw wants its first factor unsigned: it gets |weight|,
// and the activation the weight's sign; two such products always fit 16 bits (2 · 128 · 127 <
// 2^15).
#include "kernels/x86_avx2/panel.h"

namespace octet {
namespace {

inline __m256i Nibbles(const std::byte* main, int w) {
  return Field(LoadWord(main, 4 * (w / 8) + w % 4), 4 * (w / 4 % 2), 15);
}
inline __m256i FiveBits(const std::byte* main, int w) {
  const __m256i fifth = Field(LoadWord(main, 32 + w % 8), w / 8, 1);
  return _mm256_or_si256(Nibbles(main, w), _mm256_slli_epi16(fifth, 4));
}

struct Q4_0Weights {
  static constexpr int kMainWords = 32;
  static __m256i Weight(const std::byte* main, int w) {
    return _mm256_sub_epi8(Nibbles(main, w), _mm256_set1_epi8(8));
  }
};
struct Q4_1Weights {
  static constexpr int kMainWords = 32;
  static __m256i Weight(const std::byte* main, int w) { return Nibbles(main, w); }
};
struct Q5_0Weights {
  static constexpr int kMainWords = 40;
  static __m256i Weight(const std::byte* main, int w) {
    return _mm256_sub_epi8(FiveBits(main, w), _mm256_set1_epi8(16));
  }
};
struct Q5_1Weights {
  static constexpr int kMainWords = 40;
  static __m256i Weight(const std::byte* main, int w) { return FiveBits(main, w); }
};
struct Q8_0Weights {
  static constexpr int kMainWords = 64;
  static __m256i Weight(const std::byte* main, int w) {
    return _mm256_xor_si256(LoadWord(main, w), _mm256_set1_epi8(static_cast<char>(0x80)));
  }
};
struct Iq4Weights {
  static constexpr int kMainWords = 32;
  static __m256i Weight(const std::byte* main, int w) {
    const __m256i levels = _mm256_broadcastsi128_si256(  // quant/iq4_nl.h
        _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113));
    return _mm256_shuffle_epi8(levels, Nibbles(main, w));
  }
};

/// isum[t] of the 32 values of block b.
template <class W, int N>
inline void BlockSums(const std::byte* main, const ActivationBlock* x, int b, __m256i* isum) {
  for (int t = 0; t < N; ++t) isum[t] = _mm256_setzero_si256();
  for (int w = 8 * b; w < 8 * b + 8; ++w) {
    const __m256i weight = W::Weight(main, w), magnitude = _mm256_abs_epi8(weight);
    for (int t = 0; t < N; ++t) {
      const __m256i signed_x = _mm256_sign_epi8(Four(x[t], w), weight);
      const __m256i pairs = _mm256_maddubs_epi16(magnitude, signed_x);
      isum[t] = _mm256_add_epi32(isum[t], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
  }
}

/// A float scale a block, and with kMins an offset.
template <class W, bool kMins>
struct FloatBlocks {
  static constexpr int kMainBytes = 64 * W::kMainWords + (kMins ? 512 : 256), kTailBytes = 0;
  static constexpr Activations kActivations = Activations::kInt8Per32;

  template <int N>
  static void Step(const std::byte* main, const std::byte*, const ActivationBlock* x, __m256* acc) {
    // `main` is 32 bytes in for the upper half; its 16-bit fields are only 16 bytes in.
    const bool upper = reinterpret_cast<uintptr_t>(main) % 64 != 0;
    const std::byte* scales = main - (upper ? 16 : 0) + 64 * W::kMainWords;
    for (int b = 0; b < 8; ++b) {
      __m256i isum[N];
      BlockSums<W, N>(main, x, b, isum);
      const __m256 d = LoadHalves(scales + 32 * b);
      const __m256 m = kMins ? LoadHalves(scales + 256 + 32 * b) : d;
      for (int t = 0; t < N; ++t) {
        __m256 v = _mm256_mul_ps(d, _mm256_cvtepi32_ps(isum[t]));
        if constexpr (kMins) {
          v = _mm256_fmadd_ps(m, _mm256_set1_ps(static_cast<float>(x[t].sum32[b])), v);
        }
        acc[t] = _mm256_fmadd_ps(v, _mm256_set1_ps(x[t].scale32[b]), acc[t]);
      }
    }
  }
};

struct Iq4_Xs {
  static constexpr int kMainBytes = 2112, kTailBytes = 64;
  static constexpr Activations kActivations = Activations::kInt8;

  template <int N>
  static void Step(const std::byte* main, const std::byte* tail, const ActivationBlock* x,
                   __m256* acc) {
    // Group g: bits 4g of `low`, 2g of `top`.
    const __m256i low = LoadWord(main, 32);
    const __m256i top =
        _mm256_cvtepu16_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(tail)));
    __m256i total[N];
    for (int t = 0; t < N; ++t) total[t] = _mm256_setzero_si256();
    for (int g = 0; g < 8; ++g) {
      __m256i isum[N];
      BlockSums<Iq4Weights, N>(main, x, g, isum);
      const __m256i low_bits =
          _mm256_and_si256(_mm256_srl_epi32(low, _mm_cvtsi32_si128(4 * g)), _mm256_set1_epi32(15));
      const __m256i top_bits =
          _mm256_and_si256(_mm256_srl_epi32(top, _mm_cvtsi32_si128(2 * g)), _mm256_set1_epi32(3));
      const __m256i scale = _mm256_sub_epi32(
          _mm256_or_si256(low_bits, _mm256_slli_epi32(top_bits, 4)), _mm256_set1_epi32(32));
      for (int t = 0; t < N; ++t) {
        total[t] = _mm256_add_epi32(total[t], _mm256_mullo_epi32(isum[t], scale));
      }
    }
    const __m256 d = LoadHalves(tail + 32);
    for (int t = 0; t < N; ++t) {
      const __m256 v = _mm256_mul_ps(d, _mm256_cvtepi32_ps(total[t]));
      acc[t] = _mm256_fmadd_ps(v, _mm256_set1_ps(x[t].scale), acc[t]);
    }
  }
};

using Q4_0 = FloatBlocks<Q4_0Weights, false>;
using Q4_1 = FloatBlocks<Q4_1Weights, true>;
using Q5_0 = FloatBlocks<Q5_0Weights, false>;
using Q5_1 = FloatBlocks<Q5_1Weights, true>;
using Q8_0 = FloatBlocks<Q8_0Weights, false>;
using Iq4_Nl = FloatBlocks<Iq4Weights, false>;

}  // namespace

OCTET_KERNELS(x86_avx2_matmul_blocks32) = {
    OCTET_AVX2_KERNEL("q4_0", kQ4_0, Q4_0),       OCTET_AVX2_KERNEL("q4_1", kQ4_1, Q4_1),
    OCTET_AVX2_KERNEL("q5_0", kQ5_0, Q5_0),       OCTET_AVX2_KERNEL("q5_1", kQ5_1, Q5_1),
    OCTET_AVX2_KERNEL("q8_0", kQ8_0, Q8_0),       OCTET_AVX2_KERNEL("iq4_nl", kIq4_Nl, Iq4_Nl),
    OCTET_AVX2_KERNEL("iq4_xs", kIq4_Xs, Iq4_Xs), {},
};

}  // namespace octet
