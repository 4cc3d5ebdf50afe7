// Rows of keys and values, of any stored format, as bf16.
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

inline __m512i Bf16Pair(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

/// 32 values of a row from dimension d (a multiple of 32) on, as bf16.
struct RowsBf16 {
  static constexpr int32_t kBytes = 64;    // of 32 values
  static constexpr bool kAreTiles = true;  // 16 rows of a page are a tile as they lie
  static __m512i Load(const std::byte* row, int32_t d) {
    return _mm512_loadu_si512(row + 2 * static_cast<int64_t>(d));
  }
};
struct RowsF16 {
  static constexpr int32_t kBytes = 64;
  static constexpr bool kAreTiles = false;
  static __m512i Load(const std::byte* row, int32_t d) {
    const auto* half = reinterpret_cast<const __m256i*>(row + 2 * static_cast<int64_t>(d));
    return Bf16Pair(_mm512_cvtph_ps(_mm256_loadu_si256(half)),
                    _mm512_cvtph_ps(_mm256_loadu_si256(half + 1)));
  }
};
struct RowsQ8 {
  static constexpr int32_t kBytes = 34;  // binary16 scale, 32 int8
  static constexpr bool kAreTiles = false;
  static __m512i Load(const std::byte* row, int32_t d) {
    const std::byte* block = row + d / 32 * kBytes;
    uint16_t bits;
    __builtin_memcpy(&bits, block, sizeof bits);
    const __m512 scale = _mm512_cvtph_ps(_mm256_set1_epi16(static_cast<int16_t>(bits)));
    const auto* codes = reinterpret_cast<const __m128i*>(block + 2);
    const auto part = [&](int i) {
      return _mm512_mul_ps(scale,
                           _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(codes + i))));
    };
    return Bf16Pair(part(0), part(1));
  }
};

/// Two vectors of 32 dims as the unpack instructions leave them (0–3, 8–11, 16–19, 24–27, and the
/// others), to their own order.
inline void NaturalDims(__m512 first, __m512 second, float* out) {
  const __m512i low = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
  const __m512i high =
      _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
  _mm512_storeu_ps(out, _mm512_permutex2var_ps(first, low, second));
  _mm512_storeu_ps(out + 16, _mm512_permutex2var_ps(first, high, second));
}

}  // namespace
}  // namespace octet
