// Panels (quant/panel16.h) in 256-bit registers: each word in two halves of eight rows. Kernels of
// AVX2 and of AVX-VNNI are the same templates; which products they are made of is decided by the
// flags of the folder that includes them.
//
// With AVX-VNNI products of unsigned codes and signed activations are summed in 32 bits at once.
// Without, as pairs in 16 bits (vpmaddubsw), as many words as fit, and then widened by a
// multiplication with the group's scale.
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"
#include "quant/panel16.h"

// Also where inlining matters for effect: g++ takes a function that only asks for lines for one
// without effect and drops its calls. With a sanitizer's checks around every access, bodies that
// large take compilers minutes.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OCTET_ALWAYS_INLINE inline
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OCTET_ALWAYS_INLINE inline
#endif
#if !defined(OCTET_ALWAYS_INLINE)
#define OCTET_ALWAYS_INLINE inline __attribute__((always_inline))
#endif

namespace octet {
namespace {

#ifdef __AVXVNNI__
constexpr bool kVnni = true;
#else
constexpr bool kVnni = false;
#endif

constexpr int kHalves = 2;

/// What a panel's step needs beside its codes, made ready once for all tokens; and the codes, where
/// many tokens share them.
struct alignas(64) Unit {
  const std::byte* main;
  __m256i scale[16][kHalves];  // GroupScale, or floats
  __m256i pair[8][kHalves];    // of int16, groups 2i and 2i + 1; or floats
  __m256 d[kHalves], dmin[kHalves];
  __m256i code[2][64][kHalves];  // by pass; word w: values 4w … 4w + 3
};

/// Eight rows of a word of the panel.
inline __m256i LoadWord(const std::byte* main, int word, int half) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(main + 64 * word + 32 * half));
}
/// Eight rows of 16-bit fields: binary16 to float.
inline __m256 LoadHalves(const std::byte* p, int half) {
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(p + 16 * half)));
}
/// Bits [shift, …) of every byte, cut by `mask`.
inline __m256i Field(__m256i word, int shift, int mask) {
  return _mm256_and_si256(_mm256_srli_epi16(word, shift),
                          _mm256_set1_epi8(static_cast<char>(mask)));
}

/// Four neighbouring bytes, in every lane.
inline __m256i Four(const void* p) {
  int32_t four;
  __builtin_memcpy(&four, p, sizeof(four));
  return _mm256_set1_epi32(four);
}

/// A lane whose bytes are those of the pattern: 0 … 3 of the lane, or 0x80 for zero.
inline __m256i ShuffleLanes(__m256i words, uint32_t pattern) {
  const __m256i lane =
      _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c));
  return _mm256_shuffle_epi8(
      words, _mm256_or_si256(lane, _mm256_set1_epi32(static_cast<int32_t>(pattern))));
}

/// Byte j of every lane as a group's scale is multiplied: a value of 32 bits, or twice one of 16.
inline __m256i GroupScale(__m256i words, int j) {
  const auto byte = static_cast<uint32_t>(j);
  return ShuffleLanes(words, kVnni ? 0x80808000u | byte : 0x80008000u | byte << 16 | byte);
}
inline __m256i SignedGroupScale(__m256i words, int j) {
  const auto byte = static_cast<uint32_t>(j);
  if constexpr (kVnni) return _mm256_srai_epi32(ShuffleLanes(words, byte << 24 | 0x808080u), 24);
  return _mm256_srai_epi16(ShuffleLanes(words, byte << 24 | 0x800080u | byte << 8), 8);
}

/// Bytes 2 · half and 2 · half + 1 of every lane, as a pair of int16.
inline __m256i BytePair(__m256i bytes, int half) {
  const auto byte = static_cast<uint32_t>(2 * half);
  return ShuffleLanes(bytes, 0x80008000u | (byte + 1) << 16 | byte);
}
/// Two groups' scales as a pair of int16.
inline __m256i ScalesPair(__m256i even, __m256i odd) {
  return _mm256_blend_epi16(even, kVnni ? _mm256_slli_epi32(odd, 16) : odd, 0xaa);
}

/// sum + Σ over the lane's four of code · activation.
inline __m256i DotBytes(__m256i sum, __m256i codes, __m256i activations) {
#ifdef __AVXVNNI__
  return _mm256_dpbusd_avx_epi32(sum, codes, activations);
#else
  const __m256i pairs = _mm256_maddubs_epi16(codes, activations);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#endif
}
/// sum + Σ over the lane's two of 16-bit values.
inline __m256i DotPairs(__m256i sum, __m256i a, __m256i b) {
#ifdef __AVXVNNI__
  return _mm256_dpwssd_avx_epi32(sum, a, b);
#else
  return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
#endif
}

/// g++ reorders sums of integers, so that all products are there before the first is added, in
/// memory; this keeps the order that the source has.
OCTET_ALWAYS_INLINE void Keep(__m256i* sum) { asm("" : "+x"(*sum)); }

/// sum[t] + Σ pair[i] · (sums 2i and 2i + 1 of token t), of both halves.
template <int kPairs, int N>
OCTET_ALWAYS_INLINE void AddPairSums(const __m256i (*pair)[kHalves], const int16_t* const* sums,
                                     __m256i (*sum)[kHalves]) {
#pragma GCC unroll 8
  for (int t = 0; t < N; ++t) {
#pragma GCC unroll 8
    for (int i = 0; i < kPairs; ++i) {
      const __m256i both = Four(sums[t] + 2 * i);
      for (int h = 0; h < kHalves; ++h) {
        sum[t][h] = DotPairs(sum[t][h], pair[i][h], both);
        Keep(&sum[t][h]);
      }
    }
  }
}

/// A token's sums of a panel to y.
inline void StoreRows(const MatmulArgs& args, int64_t token, int64_t row, const float* sums) {
  float* y = args.y + token * args.y_stride + row;
  if (args.rows - row >= kPanelRows) {
    _mm256_storeu_ps(y, _mm256_load_ps(sums));
    _mm256_storeu_ps(y + 8, _mm256_load_ps(sums + 8));
    return;
  }
  for (int64_t r = 0; row + r < args.rows; ++r) y[r] = sums[r];
}

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

}  // namespace
}  // namespace octet
