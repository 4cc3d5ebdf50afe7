// The walk over a kPanel16 matrix that all formats share; a format adds what happens in one step.
// Included by kernel files only: everything is local to the file that includes it.
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"
#include "quant/panel16.h"

namespace octet {
namespace {

// Lines are asked for twice: far ahead into the second-level cache, which can wait for many more of
// them than the first, and then from there. Only so is a core that also computes fast enough; one
// that waits for each step reads at 60 % of what it can.
constexpr int64_t kFarBytes = 6144, kNearBytes = 3072;

/// The activations of N tokens in one step.
template <int N>
struct StepX {
  const ActivationBlock* block;  // [N]

  /// Four neighbouring codes of token t, in every lane.
  __m512i Four(int t, int k) const {
    int32_t four;
    __builtin_memcpy(&four, block[t].q + k, sizeof(four));
    return _mm512_set1_epi32(four);
  }
  __m512 Scale(int t) const { return _mm512_set1_ps(block[t].scale); }
};

/// Asks for the lines that follow the one at `p` in the stream.
template <int64_t kFar = kFarBytes, int64_t kNear = kNearBytes>
inline void AskAhead(const std::byte* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p + kFar), _MM_HINT_T1);
  _mm_prefetch(reinterpret_cast<const char*>(p + kNear), _MM_HINT_T0);
}

/// One 64-byte word of the panel; kAhead: the first to read it, so that its successors are asked
/// for.
template <bool kAhead = true, int64_t kFar = kFarBytes, int64_t kNear = kNearBytes>
inline __m512i LoadWord(const std::byte* main, int word) {
  const std::byte* p = main + 64 * word;
  if constexpr (kAhead) AskAhead<kFar, kNear>(p);
  return _mm512_load_si512(p);
}

/// Sixteen binary16 to float.
inline __m512 LoadHalves(const std::byte* p) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
}

/// Lane byte `j` (0..3) of every lane, as an unsigned or signed 32-bit value.
inline __m512i UnsignedByte(__m512i words, int j) {
  const __m512i shifted = _mm512_srli_epi32(words, 8 * static_cast<unsigned>(j));
  return j == 3 ? shifted : _mm512_and_si512(shifted, _mm512_set1_epi32(0xff));
}
inline __m512i SignedByte(__m512i words, int j) {
  return _mm512_srai_epi32(_mm512_slli_epi32(words, 8 * static_cast<unsigned>(3 - j)), 24);
}

/// Bytes 2 · half and 2 · half + 1 of every lane, as a pair of int16.
inline __m512i BytePair(__m512i bytes, int half) {
  const __m512i order = half == 0 ? _mm512_set1_epi32(static_cast<int32_t>(0x80018000))
                                  : _mm512_set1_epi32(static_cast<int32_t>(0x80038002));
  const __m512i lanes =
      _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x00040004, 0x00080008, 0x000c000c));
  return _mm512_shuffle_epi8(bytes, _mm512_or_si512(order, lanes));
}

/// Two 16-bit sums of activations side by side, in every lane.
inline __m512i SumPair(const int16_t* sums, int pair) {
  int32_t both;
  __builtin_memcpy(&both, sums + 2 * pair, sizeof(both));
  return _mm512_set1_epi32(both);
}

/// Σ pair[i] · (sums 2i and 2i + 1), from `sum` on.
template <int kPairs>
inline __m512i PairSum(const __m512i* pair, const int16_t* sums, __m512i sum) {
#pragma GCC unroll 8
  for (int i = 0; i < kPairs; ++i) sum = _mm512_dpwssd_epi32(sum, pair[i], SumPair(sums, i));
  return sum;
}

/// start[t][g] = -offset · (sum of the 16 activation codes of group g), for codes that count from
/// it.
template <int N>
void OffsetStarts(const StepX<N>& x, int offset, int32_t (*start)[16]) {
  for (int t = 0; t < N; ++t) {
    const __m512i sums = _mm512_cvtepi16_epi32(
        _mm256_load_si256(reinterpret_cast<const __m256i*>(x.block[t].sum16)));
    _mm512_store_si512(start[t], _mm512_mullo_epi32(sums, _mm512_set1_epi32(-offset)));
  }
}

/// The same of groups of 32; kStride: of a token's starts.
template <int N, int kStride>
void OffsetStarts32(const StepX<N>& x, int offset, int32_t (*start)[kStride]) {
  for (int t = 0; t < N; ++t) {
    const __m256i sums =
        _mm256_cvtepi16_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(x.block[t].sum32)));
    _mm256_store_si256(reinterpret_cast<__m256i*>(start[t]),
                       _mm256_mullo_epi32(sums, _mm256_set1_epi32(-offset)));
  }
}

/// isum[t] += Σ over the four runs of sum[t][run] · scale. The sums fit 16 bits, so two runs make
/// the pairs of one vpdpwssd (a vpmulld is twice as slow); scale_pair(p) holds those of runs 2p, 2p
/// + 1.
template <int N, class ScalePair>
void AddScaledPairs(ScalePair scale_pair, const __m512i (*sum)[4], __m512i* isum) {
  for (int pair = 0; pair < 2; ++pair) {
    const __m512i scale = scale_pair(pair);
    for (int t = 0; t < N; ++t) {
      const __m512i both = _mm512_mask_blend_epi16(0xaaaaaaaa, sum[t][2 * pair],
                                                   _mm512_slli_epi32(sum[t][2 * pair + 1], 16));
      isum[t] = _mm512_dpwssd_epi32(isum[t], both, scale);
    }
  }
}

inline void StoreRows(const MatmulArgs& args, int64_t token, int64_t row, __m512 values) {
  const int64_t rows = args.rows - row;
  const auto mask = static_cast<__mmask16>(rows >= 16 ? 0xffff : (1u << rows) - 1);
  _mm512_mask_storeu_ps(args.y + token * args.y_stride + row, mask, values);
}

/// Calls run.template operator()<N, kFirst>(t) for groups of at most F::kGroup tokens that share
/// the unpacked codes; kFirst: t is 0.
template <class F, class Run>
void ForTokenGroups(int64_t tokens, Run run) {
  const auto group = [&]<int N>(int64_t t) {
    if (t == 0) {
      run.template operator()<N, true>(t);
    } else {
      run.template operator()<N, false>(t);
    }
  };
  int64_t t = 0;
  if constexpr (F::kGroup == 8) {
    for (; t + 8 <= tokens; t += 8) group.template operator()<8>(t);
  }
  for (; t + 4 <= tokens; t += 4) group.template operator()<4>(t);
  switch (tokens - t) {
    case 3:
      group.template operator()<3>(t);
      break;
    case 2:
      group.template operator()<2>(t);
      break;
    case 1:
      group.template operator()<1>(t);
      break;
    default:
      break;
  }
}

/// One token and a panel: its sums stay in a register.
template <class F>
void RunOneToken(const MatmulArgs& args, const std::byte* panel, int64_t row, int64_t t) {
  const int64_t steps = (args.cols + kPanelStep - 1) / kPanelStep;
  __m512 acc = _mm512_setzero_ps();
  for (int64_t s = 0; s < steps; ++s) {
    const StepPlace<F> place(panel, s, steps);
    F::template Step<1, true>(place.main, place.tail, StepX<1>{args.xq + s * args.xq_tokens + t},
                              &acc);
  }
  StoreRows(args, t, row, acc);
}

constexpr int64_t kFewTokens = 32;  // whose sums lie in memory during a panel

/// Up to kFewTokens tokens from t on and a panel. Steps are outermost: a step comes from memory
/// once, and is in the first-level cache for all groups of tokens but the first.
template <class F>
void RunTokens(const MatmulArgs& args, const std::byte* panel, int64_t row, int64_t t) {
  const int64_t steps = (args.cols + kPanelStep - 1) / kPanelStep;
  const int64_t left = args.tokens - t, tokens = left < kFewTokens ? left : kFewTokens;
  __m512 acc[kFewTokens];
  for (int64_t i = 0; i < tokens; ++i) acc[i] = _mm512_setzero_ps();
  for (int64_t s = 0; s < steps; ++s) {
    const StepPlace<F> place(panel, s, steps);
    const ActivationBlock* x = args.xq + s * args.xq_tokens + t;
    ForTokenGroups<F>(tokens, [&]<int N, bool kFirst>(int64_t i) {
      F::template Step<N, kFirst>(place.main, place.tail, StepX<N>{x + i}, acc + i);
    });
  }
  for (int64_t i = 0; i < tokens; ++i) StoreRows(args, t + i, row, acc[i]);
}

/// Layout::kPanel16.
template <class F>
void MatmulPanels(const MatmulArgs& args) {
  const int64_t steps = (args.cols + kPanelStep - 1) / kPanelStep;
  const int64_t panel_bytes = (steps * (F::kMainBytes + F::kTailBytes) + 63) / 64 * 64;
  const std::byte* panel = args.w;
  for (int64_t i = 0; i < kFarBytes; i += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(panel + i), _MM_HINT_T1);
  }
  for (int64_t row = 0; row < args.rows; row += kPanelRows, panel += panel_bytes) {
    for (int64_t t = 0; t < args.tokens; t += kFewTokens) {
      if (args.tokens == 1) {
        RunOneToken<F>(args, panel, row, t);
      } else {
        RunTokens<F>(args, panel, row, t);
      }
    }
  }
}

constexpr int64_t kTokenChunk = 256;       // tokens that share a repacked step
constexpr int64_t kStepFloats = 4608 / 4;  // one step of any format

/// Step s of the rows from `row` on, as a panel has it.
template <class F>
void RepackStep(const MatmulArgs& args, int64_t row, int64_t s, std::byte* step) {
  constexpr int64_t kStepRowBytes = (F::kMainBytes + F::kTailBytes) / kPanelRows;
  const std::byte* rows[kPanelRows];
  for (int64_t r = 0; r < kPanelRows; ++r) {
    rows[r] =
        row + r < args.rows ? args.w + (row + r) * args.w_row_bytes + s * kStepRowBytes : nullptr;
  }
  args.pack(rows, (args.cols - s * kPanelStep) / 32, step, step + F::kMainBytes);
}

/// Layout::kRowMajor: each step is repacked into scratch, then serves all tokens. Same bits as
/// packed; for one token the repacking takes longer than the products.
template <class F>
void MatmulRowMajor(const MatmulArgs& args) {
  auto* step = reinterpret_cast<std::byte*>(args.scratch);
  auto* acc = reinterpret_cast<__m512*>(args.scratch + kStepFloats);
  const int64_t steps = (args.cols + kPanelStep - 1) / kPanelStep;
  for (int64_t row = 0; row < args.rows; row += kPanelRows) {
    for (int64_t chunk = 0; chunk < args.tokens; chunk += kTokenChunk) {
      const int64_t left = args.tokens - chunk, tokens = left < kTokenChunk ? left : kTokenChunk;
      for (int64_t t = 0; t < tokens; ++t) acc[t] = _mm512_setzero_ps();
      for (int64_t s = 0; s < steps; ++s) {
        RepackStep<F>(args, row, s, step);
        ForTokenGroups<F>(tokens, [&]<int N, bool kFirst>(int64_t t) {
          const StepX<N> x{args.xq + s * args.xq_tokens + chunk + t};
          F::template Step<N, false>(step, step + F::kMainBytes, x, acc + t);
        });
      }
      for (int64_t t = 0; t < tokens; ++t) StoreRows(args, chunk + t, row, acc[t]);
    }
  }
}

}  // namespace
}  // namespace octet
