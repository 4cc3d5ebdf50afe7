// A panel's step times up to six tokens. One broadcast of four activations serves both halves, and
// a word of codes all tokens: twelve sums and what they are made from fill the sixteen registers.
//
// A format F with integer scales says
//   kGroups               groups, of a scale each
//   kTogether             how many of them a loop's body holds, so that shifts are constants
//   kPasses               where codes have more than seven bits: two, of the low and the high four
//   kRun                  how many words' products fit sums of 16 bits
//   kOffset               what codes lie above their values
//   kMins                 whether Unit::pair holds minima; else, with an offset, -offset · scale
//   kKept                 whether many tokens read Unit::code
//   kFolded, kBias        whether those hold the scale too, and what they lie above their values
//   Code(main, pass, g, j, w, half)  the codes of word w of group g + j
// and a format with a float scale per 32 values
//   kPasses, kRun, kOffset, kMins, kKept   the same
//   kMainWords            words before the scales
//   Code(main, pass, b, w, half)     the codes of word w of block b
#pragma once

#include "kernels/x86_avx2/panel.h"

namespace octet {
namespace {

constexpr int kTileTokens = 6;

/// Sums of a token and a panel.
using TileSums = float[kPanelRows];

/// Lines of later steps, which are asked for between products: a core waits for few at a time.
struct Ahead {
  const std::byte* at;
  int64_t lines;  // a part of the tile: F::kParts

  OCTET_ALWAYS_INLINE void Ask(int part) const {
    for (int64_t i = part * lines; i < (part + 1) * lines; ++i)
      _mm_prefetch(reinterpret_cast<const char*>(at + 64 * i), _MM_HINT_T0);
  }
};

/// products[t][half] of words [first, first + kWords), whose codes code(w, half) gives; `add` takes
/// a sum (or starts it, where kStarts) on by codes and activations.
template <int kWords, int N, class Code, class Add>
OCTET_ALWAYS_INLINE void ForWords(const ActivationBlock* x, int first, Code code, Add add) {
#pragma GCC unroll 8
  for (int w = 0; w < kWords; ++w) {
    const __m256i low = code(w, 0), high = code(w, 1);
#pragma GCC unroll 6
    for (int t = 0; t < N; ++t) {
      const __m256i four = Four(x[t].q + 4 * (first + w));
      add(w, t, 0, low, four);
      add(w, t, 1, high, four);
    }
  }
}

/// sum[t][half] += Σ code · activation over kWords words from `first` on. code(pass, w, half);
/// factor(pass, half): what pairs of 16-bit sums are multiplied with, where there are such.
template <class F, int kWords, int N, class Code, class Factor>
OCTET_ALWAYS_INLINE void AddWords(const ActivationBlock* x, int first, Code code, Factor factor,
                                  __m256i (*sum)[kHalves]) {
  if constexpr (kVnni) {
    ForWords<kWords, N>(
        x, first, [&](int w, int h) { return code(0, w, h); },
        [&](int, int t, int h, __m256i codes, __m256i four) {
          sum[t][h] = DotBytes(sum[t][h], codes, four);
        });
    return;
  }
#pragma GCC unroll 2
  for (int pass = 0; pass < F::kPasses; ++pass) {
    // Or g++ remembers all broadcasts of the first pass, in memory.
    if (pass > 0) asm volatile("" : : : "memory");
#pragma GCC unroll 4
    for (int run = 0; run < kWords; run += F::kRun) {
      __m256i pairs[N][kHalves];
      ForWords<F::kRun, N>(
          x, first + run, [&](int w, int h) { return code(pass, run + w, h); },
          [&](int w, int t, int h, __m256i codes, __m256i four) {
            const __m256i products = _mm256_maddubs_epi16(codes, four);
            pairs[t][h] = w == 0 ? products : _mm256_add_epi16(pairs[t][h], products);
            Keep(&pairs[t][h]);
          });
      const __m256i by[kHalves] = {factor(pass, 0), factor(pass, 1)};
#pragma GCC unroll 6
      for (int t = 0; t < N; ++t) {
#pragma GCC unroll 2
        for (int h = 0; h < kHalves; ++h) {
          sum[t][h] = _mm256_add_epi32(sum[t][h], _mm256_madd_epi16(pairs[t][h], by[h]));
          Keep(&sum[t][h]);
        }
      }
    }
  }
}

/// isum += scale · Σ code · activation of group g + j.
template <class F, int N, bool kKept>
OCTET_ALWAYS_INLINE void AddGroup(const Unit& unit, const ActivationBlock* x, int g, int j,
                                  __m256i (*isum)[kHalves]) {
  constexpr int kWords = 64 / F::kGroups;
  const int first = kWords * (g + j);
  const auto code = [&](int pass, int w, int h) {
    if constexpr (kKept && F::kKept) return unit.code[pass][first + w][h];
    return F::Code(unit.main, pass, g, j, w, h);
  };
  const auto factor = [&](int pass, int h) {
    const __m256i scale = unit.scale[g + j][h];
    return pass == 0 ? scale : _mm256_slli_epi16(scale, 4);
  };
  if constexpr (!kVnni) return AddWords<F, kWords, N>(x, first, code, factor, isum);
  __m256i sum[N][kHalves];
#pragma GCC unroll 6
  for (int t = 0; t < N; ++t) sum[t][0] = sum[t][1] = _mm256_setzero_si256();
  AddWords<F, kWords, N>(x, first, code, factor, sum);
#pragma GCC unroll 6
  for (int t = 0; t < N; ++t) {
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      isum[t][h] =
          _mm256_add_epi32(isum[t][h], _mm256_mullo_epi32(sum[t][h], unit.scale[g + j][h]));
    }
  }
}

/// Of codes that hold their scales.
template <class F, int N>
OCTET_ALWAYS_INLINE void AddFolded(const Unit& unit, const ActivationBlock* x, int g,
                                   __m256i (*isum)[kHalves]) {
  constexpr int kWords = 64 / F::kGroups;
  AddWords<F, kWords, N>(
      x, kWords * g, [&](int, int w, int h) { return unit.code[0][kWords * g + w][h]; },
      [](int, int) { return _mm256_setzero_si256(); }, isum);
}

template <class F, int N>
struct GroupSums {
  explicit GroupSums(const ActivationBlock* x) {
    for (int t = 0; t < N; ++t) of[t] = F::kGroups == 8 ? x[t].sum32 : x[t].sum16;
  }
  const int16_t* of[N];
};

/// isum = Σ over the groups; what offsets take off comes first.
template <class F, int N, bool kKept>
OCTET_ALWAYS_INLINE void StepSums(const Unit& unit, const ActivationBlock* x, const Ahead& ahead,
                                  __m256i (*isum)[kHalves]) {
  constexpr bool kFolded = kKept && F::kFolded;
  constexpr int kTogether = kKept ? 1 : F::kTogether;
#pragma GCC unroll 6
  for (int t = 0; t < N; ++t) isum[t][0] = isum[t][1] = _mm256_setzero_si256();
  if constexpr (kFolded && F::kBias != 0) {
    const __m256i bias = _mm256_set1_epi16(-F::kBias);
    const __m256i biases[4][kHalves] = {{bias, bias}, {bias, bias}, {bias, bias}, {bias, bias}};
    const int16_t* sums[N];
    for (int t = 0; t < N; ++t) sums[t] = x[t].sum32;
    AddPairSums<4, N>(biases, sums, isum);
  } else if constexpr (!kFolded && F::kOffset != 0) {
    AddPairSums<F::kGroups / 2, N>(unit.pair, GroupSums<F, N>(x).of, isum);
  }
#pragma GCC unroll 1
  for (int g = 0; g < F::kGroups; g += kTogether) {
#pragma GCC unroll 16
    for (int j = 0; j < kTogether; ++j) {
      ahead.Ask(g + j);
      if constexpr (kFolded) {
        AddFolded<F, N>(unit, x, g + j, isum);
      } else {
        AddGroup<F, N, kKept>(unit, x, g, j, isum);
      }
    }
  }
}

/// The tile of a format with integer scales.
template <class F, int N, bool kKept>
OCTET_ALWAYS_INLINE void ScaledTile(const Unit& unit, const ActivationBlock* x, TileSums* acc,
                                    const Ahead& ahead) {
  __m256i isum[N][kHalves];
  StepSums<F, N, kKept>(unit, x, ahead, isum);
  const GroupSums<F, N> sums(x);
#pragma GCC unroll 6
  for (int t = 0; t < N; ++t) {
    __m256i least[1][kHalves] = {{_mm256_setzero_si256(), _mm256_setzero_si256()}};
    if constexpr (F::kMins) AddPairSums<F::kGroups / 2, 1>(unit.pair, sums.of + t, least);
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      __m256 v = _mm256_mul_ps(unit.d[h], _mm256_cvtepi32_ps(isum[t][h]));
      if (F::kMins) v = _mm256_fnmadd_ps(unit.dmin[h], _mm256_cvtepi32_ps(least[0][h]), v);
      float* sum = acc[t] + 8 * h;
      _mm256_store_ps(sum, _mm256_fmadd_ps(v, _mm256_set1_ps(x[t].scale), _mm256_load_ps(sum)));
    }
  }
}

/// start[t][b] = -offset · (sum of the 32 activation codes of block b).
template <int N>
OCTET_ALWAYS_INLINE void OffsetStarts(const ActivationBlock* x, int offset, int32_t (*start)[8]) {
  for (int t = 0; t < N; ++t) {
    const __m256i sums =
        _mm256_cvtepi16_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(x[t].sum32)));
    _mm256_store_si256(reinterpret_cast<__m256i*>(start[t]),
                       _mm256_mullo_epi32(sums, _mm256_set1_epi32(-offset)));
  }
}

/// isum[t][half] of block b: Σ (code - offset) · activation.
template <class F, int N, bool kKept>
OCTET_ALWAYS_INLINE void BlockSums(const Unit& unit, const ActivationBlock* x, int b,
                                   const int32_t (*start)[8], __m256i (*isum)[kHalves]) {
#pragma GCC unroll 6
  for (int t = 0; t < N; ++t) {
    isum[t][0] = F::kOffset != 0 ? _mm256_set1_epi32(start[t][b]) : _mm256_setzero_si256();
    isum[t][1] = isum[t][0];
  }
  AddWords<F, 8, N>(
      x, 8 * b,
      [&](int pass, int w, int h) {
        if constexpr (kKept && F::kKept) return unit.code[pass][8 * b + w][h];
        return F::Code(unit.main, pass, b, w, h);
      },
      [](int pass, int) { return _mm256_set1_epi16(pass == 0 ? 1 : 16); }, isum);
}

/// The tile of a format with blocks of 32 values, a float scale each: value = d · (code - kOffset),
/// with kMins + m.
template <class F, int N, bool kKept>
OCTET_ALWAYS_INLINE void FloatTile(const Unit& unit, const ActivationBlock* x, TileSums* acc,
                                   const Ahead& ahead) {
  alignas(32) int32_t start[N][8];
  if constexpr (F::kOffset != 0) OffsetStarts<N>(x, F::kOffset, start);
#pragma GCC unroll 1
  for (int b = 0; b < 8; ++b) {
    ahead.Ask(b);
    __m256i isum[N][kHalves];
    BlockSums<F, N, kKept>(unit, x, b, start, isum);
    __m256 d[kHalves], m[kHalves];
    for (int h = 0; h < kHalves; ++h) {
      d[h] = kKept ? _mm256_castsi256_ps(unit.scale[b][h]) : F::Scale(unit.main, b, h);
      m[h] = !F::kMins ? d[h]
             : kKept   ? _mm256_castsi256_ps(unit.pair[b][h])
                       : F::Min(unit.main, b, h);
    }
#pragma GCC unroll 6
    for (int t = 0; t < N; ++t) {
#pragma GCC unroll 2
      for (int h = 0; h < kHalves; ++h) {
        __m256 v = _mm256_mul_ps(d[h], _mm256_cvtepi32_ps(isum[t][h]));
        if (F::kMins)
          v = _mm256_fmadd_ps(m[h], _mm256_set1_ps(static_cast<float>(x[t].sum32[b])), v);
        float* sum = acc[t] + 8 * h;
        _mm256_store_ps(sum,
                        _mm256_fmadd_ps(v, _mm256_set1_ps(x[t].scale32[b]), _mm256_load_ps(sum)));
      }
    }
  }
}

}  // namespace
}  // namespace octet
