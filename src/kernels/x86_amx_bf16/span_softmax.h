// The softmax of span attention: scores [keys][N queries] to weights, tiles of bf16 [N][32 keys].
// A zmm holds 16 / N keys of N queries; per-query values are repeated for each of them.
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_amx_bf16/kv_rows.h"
#include "kernels/x86_avx512/exp2.h"

namespace octet {
namespace {

constexpr float kLowest = -3.402823466e+38f;

/// Combines the keys that share a vector: lane q of the result, repeated, over all of q's lanes.
template <int N, class Combine>
__m512 FoldKeys(__m512 x, Combine combine) {
  if (N <= 4) x = combine(x, _mm512_shuffle_f32x4(x, x, 0xb1));  // 128-bit lanes 1 0 3 2
  if (N <= 8) x = combine(x, _mm512_shuffle_f32x4(x, x, 0x4e));  // 2 3 0 1
  return x;
}

/// Transposes the units of `n` registers in place: n = 4, 8, 16 registers of as many units.
inline void Transpose4(__m512i* x) {
  const __m512i a = _mm512_shuffle_i32x4(x[0], x[1], 0x44),
                b = _mm512_shuffle_i32x4(x[2], x[3], 0x44);
  const __m512i c = _mm512_shuffle_i32x4(x[0], x[1], 0xee),
                d = _mm512_shuffle_i32x4(x[2], x[3], 0xee);
  x[0] = _mm512_shuffle_i32x4(a, b, 0x88);
  x[1] = _mm512_shuffle_i32x4(a, b, 0xdd);
  x[2] = _mm512_shuffle_i32x4(c, d, 0x88);
  x[3] = _mm512_shuffle_i32x4(c, d, 0xdd);
}
inline void Transpose8(__m512i* x) {
  __m512i low[4], high[4];
  for (int i = 0; i < 4; ++i) {
    low[i] = _mm512_unpacklo_epi64(x[2 * i], x[2 * i + 1]);
    high[i] = _mm512_unpackhi_epi64(x[2 * i], x[2 * i + 1]);
  }
  Transpose4(low);
  Transpose4(high);
  for (int i = 0; i < 4; ++i) {
    x[2 * i] = low[i];
    x[2 * i + 1] = high[i];
  }
}
inline void Transpose16(__m512i* x) {
  __m512i low[8], high[8];
  for (int i = 0; i < 8; ++i) {
    low[i] = _mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
    high[i] = _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
  }
  Transpose8(low);
  Transpose8(high);
  for (int i = 0; i < 8; ++i) {
    x[i / 2 * 4 + i % 2] = low[i];
    x[i / 2 * 4 + 2 + i % 2] = high[i];
  }
}

/// 32 keys' weights, 2·N vectors in order of keys, to a tile [N][32 keys] of bf16.
template <int N>
void WeightsToTile(const __m512* p, std::byte* tile) {
  constexpr int kUnits = 16 / N * 2;  // keys of a query in one register of bf16
  // Word [key][query] to [query][key] within the register.
  alignas(64) static constexpr auto kIndex = [] {
    struct {
      uint16_t word[32];
    } index = {};
    for (int q = 0; q < N; ++q) {
      for (int key = 0; key < kUnits; ++key) {
        index.word[q * kUnits + key] = static_cast<uint16_t>(key * N + q);
      }
    }
    return index;
  }();
  const __m512i index = _mm512_load_si512(&kIndex);
  __m512i rows[N];
  for (int i = 0; i < N; ++i) {
    rows[i] = _mm512_permutexvar_epi16(index, Bf16Pair(p[2 * i], p[2 * i + 1]));
  }
  if (N == 4) Transpose4(rows);
  if (N == 8) Transpose8(rows);
  if (N == 16) Transpose16(rows);
  for (int i = 0; i < N; ++i) _mm512_store_si512(tile + i * 64, rows[i]);
}

/// What up to 16 queries see of a chunk, and their sums so far.
struct QueryTile {
  __m512i begin, end;  // keys of this chunk that each lane's query sees
  bool masked;         // some query does not see all keys that are walked
  __m512 m, l;
};

/// Scores of keys [first, last) of the chunk (multiples of 32) to weights; updates m and l. Returns
/// the factors of what was summed before.
template <int N>
__m512 Weigh(QueryTile* tile, int32_t first, int32_t last, const float* score, std::byte* weights,
             NextChunk* later) {
  constexpr int kKeys = 16 / N, kVectors = 2 * N;  // keys a vector; vectors of 32 keys
  const __m512i sub_key = _mm512_srli_epi32(
      _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), N == 16  ? 4
                                                                               : N == 8 ? 3
                                                                                        : 2);
  const auto visible = [&](int32_t key) {
    const __m512i index = _mm512_add_epi32(_mm512_set1_epi32(key), sub_key);
    return static_cast<__mmask16>(_mm512_cmpge_epi32_mask(index, tile->begin) &
                                  _mm512_cmplt_epi32_mask(index, tile->end));
  };
  const auto max = [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); };  // b where a is NaN
  __m512 most[4];
  for (__m512& m : most) m = _mm512_set1_ps(kLowest);
  for (int32_t key = first; key < last; key += 4 * kKeys) {
    for (int i = 0; i < 4; ++i) {
      const __m512 s = _mm512_load_ps(score + (key + i * kKeys) * N);
      const __mmask16 seen = tile->masked ? visible(key + i * kKeys) : 0xffff;
      most[i] = _mm512_mask_max_ps(most[i], seen, s, most[i]);
    }
  }
  const __m512 chunk_max = FoldKeys<N>(max(max(most[0], most[1]), max(most[2], most[3])), max);
  const __m512 m = max(chunk_max, tile->m);
  const __m512 decay = Exp2(_mm512_sub_ps(tile->m, m));

  __m512 sum[4];
  for (__m512& s : sum) s = _mm512_setzero_ps();
  for (int32_t key = first; key < last; key += 32) {
    later->Ask(kAskPerSoftmax);
    __m512 p[kVectors];
    for (int i = 0; i < kVectors; ++i) {
      const __m512 s = _mm512_load_ps(score + (key + i * kKeys) * N);
      p[i] = Exp2(_mm512_sub_ps(s, m));
      if (tile->masked) p[i] = _mm512_maskz_mov_ps(visible(key + i * kKeys), p[i]);
      __m512& part = sum[i * kKeys % 4];
      part = _mm512_add_ps(part, p[i]);
    }
    WeightsToTile<N>(p, weights + key / 32 * kTileBytes);
  }
  const auto add = [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); };
  const __m512 total = N == 16  ? add(add(sum[0], sum[1]), add(sum[2], sum[3]))
                       : N == 8 ? add(FoldKeys<N>(sum[0], add), FoldKeys<N>(sum[2], add))
                                : FoldKeys<N>(sum[0], add);
  tile->m = m;
  tile->l = _mm512_fmadd_ps(tile->l, decay, total);
  return decay;
}

}  // namespace
}  // namespace octet
