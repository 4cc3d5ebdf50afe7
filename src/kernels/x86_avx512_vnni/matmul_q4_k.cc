// Q4_K and Q5_K panels times int8 activations: groups of 32 values, 6-bit scales and minima.
#include "kernels/x86_avx512_vnni/panel.h"

namespace octet {
namespace {

// These two formats read fastest from nearer than the others (measured).
template <bool kAhead>
__m512i Load(const std::byte* main, int word) {
  return LoadWord<kAhead, 3072, 1024>(main, word);
}

/// Byte j of a lane of [half] is the field of group 4 · half + j.
struct GroupScales {
  __m512i scales[2], mins[2];

  __m512i Scale(int group) const { return UnsignedByte(scales[group / 4], group % 4); }
};

template <bool kAhead>
GroupScales UnpackScales(const std::byte* main, int word) {
  const __m512i z0 = Load<kAhead>(main, word), z1 = Load<kAhead>(main, word + 1),
                z2 = Load<kAhead>(main, word + 2);
  const __m512i six = _mm512_set1_epi8(0x3f), low = _mm512_set1_epi8(0x0f),
                top = _mm512_set1_epi8(0x30);
  const auto second = [&](__m512i low_bits, __m512i high_bits) {
    return _mm512_or_si512(_mm512_and_si512(low_bits, low),
                           _mm512_and_si512(_mm512_srli_epi32(high_bits, 2), top));
  };
  return {{_mm512_and_si512(z0, six), second(z2, z0)},
          {_mm512_and_si512(z1, six), second(_mm512_srli_epi32(z2, 4), z1)}};
}

/// Σ min · (sum of the group's activation codes) of token t. `mins` are pairs of int16: groups
/// (0,2) (1,3) (4,6) (5,7).
template <int N>
__m512i MinSum(const __m512i* mins, const StepX<N>& x, int t) {
  // Eight int16 in the order of the pairs.
  const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
  const __m128i sums = _mm_load_si128(reinterpret_cast<const __m128i*>(x.block[t].sum32));
  alignas(16) int32_t pairs[4];
  _mm_store_si128(reinterpret_cast<__m128i*>(pairs), _mm_shuffle_epi8(sums, order));
  __m512i sum = _mm512_setzero_si512();
  for (int i = 0; i < 4; ++i) {
    sum = _mm512_dpwssd_epi32(sum, mins[i], _mm512_set1_epi32(pairs[i]));
  }
  return sum;
}

/// acc[t] += scale · (d · isum − dmin · imin), rounded as quant/integer_dot.h says.
template <int N>
void AddStep(const std::byte* tail, const GroupScales& scales, const __m512i* isum,
             const StepX<N>& x, __m512* acc) {
  const __m512i even = _mm512_set1_epi32(0x00ff00ff);
  __m512i mins[4];
  for (int half = 0; half < 2; ++half) {
    mins[2 * half] = _mm512_and_si512(scales.mins[half], even);
    mins[2 * half + 1] = _mm512_and_si512(_mm512_srli_epi32(scales.mins[half], 8), even);
  }
  const __m512 d = LoadHalves(tail), dmin = LoadHalves(tail + 32);
  for (int t = 0; t < N; ++t) {
    const __m512 v = _mm512_mul_ps(d, _mm512_cvtepi32_ps(isum[t]));
    const __m512 least = _mm512_cvtepi32_ps(MinSum(mins, x, t));
    acc[t] = _mm512_fmadd_ps(_mm512_fnmadd_ps(dmin, least, v), x.Scale(t), acc[t]);
  }
}

struct Q4_K {
  static constexpr int kMainBytes = 2240, kTailBytes = 64, kGroup = 8;
  static constexpr Activations kActivations = Activations::kInt8;

  template <int N, bool kAhead>
  static void Step(const std::byte* main, const std::byte* tail, const StepX<N>& x, __m512* acc) {
    const __m512i low_mask = _mm512_set1_epi8(0x0f), high_mask = _mm512_set1_epi8(-16);
    const GroupScales scales = UnpackScales<kAhead>(main, 32);
    __m512i isum[N];
    for (int t = 0; t < N; ++t) isum[t] = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) {
      __m512i low[N], high[N];
      for (int t = 0; t < N; ++t) low[t] = high[t] = _mm512_setzero_si512();
      for (int g = 0; g < 8; ++g) {
        const __m512i word = Load<kAhead>(main, 8 * p + g);
        const __m512i low_codes = _mm512_and_si512(word, low_mask);
        const __m512i high_codes = _mm512_and_si512(word, high_mask);  // 16 times the code
        for (int t = 0; t < N; ++t) {
          low[t] = _mm512_dpbusd_epi32(low[t], low_codes, x.Four(t, 64 * p + 4 * g));
          high[t] = _mm512_dpbusd_epi32(high[t], high_codes, x.Four(t, 64 * p + 32 + 4 * g));
        }
      }
      const __m512i low_scale = scales.Scale(2 * p), high_scale = scales.Scale(2 * p + 1);
      for (int t = 0; t < N; ++t) {
        isum[t] = _mm512_add_epi32(isum[t], _mm512_mullo_epi32(low[t], low_scale));
        isum[t] = _mm512_add_epi32(isum[t],
                                   _mm512_mullo_epi32(_mm512_srai_epi32(high[t], 4), high_scale));
      }
    }
    AddStep(tail, scales, isum, x, acc);
  }
};

struct Q5_K {
  static constexpr int kMainBytes = 2752, kTailBytes = 64, kGroup = 8;
  static constexpr Activations kActivations = Activations::kInt8;

  template <int N, bool kAhead>
  static void Step(const std::byte* main, const std::byte* tail, const StepX<N>& x, __m512* acc) {
    const __m512i low_mask = _mm512_set1_epi8(0x0f), fifth = _mm512_set1_epi8(0x10);
    const GroupScales scales = UnpackScales<kAhead>(main, 40);
    __m512i isum[N];
    for (int t = 0; t < N; ++t) isum[t] = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) {
      __m512i low[N], high[N];
      for (int t = 0; t < N; ++t) low[t] = high[t] = _mm512_setzero_si512();
      for (int g = 0; g < 8; ++g) {
        const __m512i word = Load<kAhead>(main, 8 * p + g);
        // Bit b of a byte is the fifth bit of group b; moved to bit 4.
        const __m512i bits =
            p == 0 ? Load<kAhead>(main, 32 + g) : _mm512_load_si512(main + 64 * (32 + g));
        const auto code = [&](__m512i nibbles, int group) {
          const __m512i moved = group < 4
                                    ? _mm512_slli_epi16(bits, static_cast<unsigned>(4 - group))
                                    : _mm512_srli_epi16(bits, static_cast<unsigned>(group - 4));
          // nibbles | (moved & fifth)
          return _mm512_ternarylogic_epi32(nibbles, moved, fifth, 0xf8);
        };
        const __m512i low_codes = code(_mm512_and_si512(word, low_mask), 2 * p);
        const __m512i high_codes =
            code(_mm512_and_si512(_mm512_srli_epi16(word, 4), low_mask), 2 * p + 1);
        for (int t = 0; t < N; ++t) {
          low[t] = _mm512_dpbusd_epi32(low[t], low_codes, x.Four(t, 64 * p + 4 * g));
          high[t] = _mm512_dpbusd_epi32(high[t], high_codes, x.Four(t, 64 * p + 32 + 4 * g));
        }
      }
      const __m512i low_scale = scales.Scale(2 * p), high_scale = scales.Scale(2 * p + 1);
      for (int t = 0; t < N; ++t) {
        isum[t] = _mm512_add_epi32(isum[t], _mm512_mullo_epi32(low[t], low_scale));
        isum[t] = _mm512_add_epi32(isum[t], _mm512_mullo_epi32(high[t], high_scale));
      }
    }
    AddStep(tail, scales, isum, x, acc);
  }
};

}  // namespace

OCTET_KERNELS(x86_avx512_vnni_matmul_q4_k) = {
    OCTET_VNNI_KERNELS("q4_k", kQ4_K, Q4_K),
    OCTET_VNNI_KERNELS("q5_k", kQ5_K, Q5_K),
    {},
};

}  // namespace octet
