// Rows of keys and values, of any stored format, as vectors of sixteen floats.
#pragma once

#include <immintrin.h>

#include <cstddef>

#include "kernels/x86_avx2/kv_rows.h"

namespace octet {
namespace {

inline __m128i LoadHalfLine(const std::byte* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

/// To what x86_avx2/kv_rows.h has: LoadPair, vector i of two rows' blocks, eight values of each;
/// LoadHalf, half i of a block; with scales from PairScale and HalfScale.
struct WideF32 : RowsF32 {
  static Scale PairScale(const std::byte*, const std::byte*) { return {}; }
  static Scale HalfScale(const std::byte*) { return {}; }
  static __m512 LoadPair(const std::byte* a, const std::byte* b, int i, Scale) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(Load(a, i, {})), Load(b, i, {}), 1);
  }
  static __m512 LoadHalf(const std::byte* block, int i, Scale) {
    return _mm512_loadu_ps(reinterpret_cast<const float*>(block) + 16 * i);
  }
};
struct WideF16 : RowsF16 {
  static Scale PairScale(const std::byte*, const std::byte*) { return {}; }
  static Scale HalfScale(const std::byte*) { return {}; }
  static __m512 LoadPair(const std::byte* a, const std::byte* b, int i, Scale) {
    return _mm512_cvtph_ps(_mm256_set_m128i(LoadHalfLine(b + 16 * i), LoadHalfLine(a + 16 * i)));
  }
  static __m512 LoadHalf(const std::byte* block, int i, Scale) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(block) + i));
  }
};
struct WideBf16 : RowsBf16 {
  static Scale PairScale(const std::byte*, const std::byte*) { return {}; }
  static Scale HalfScale(const std::byte*) { return {}; }
  static __m512 LoadPair(const std::byte* a, const std::byte* b, int i, Scale) {
    return Widen(_mm256_set_m128i(LoadHalfLine(b + 16 * i), LoadHalfLine(a + 16 * i)));
  }
  static __m512 LoadHalf(const std::byte* block, int i, Scale) {
    return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(block) + i));
  }

 private:
  static __m512 Widen(__m256i sixteen) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(sixteen), 16));
  }
};
struct WideQ8 : RowsQ8 {
  static __m512 PairScale(const std::byte* a, const std::byte* b) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(ScaleOf(a)), ScaleOf(b), 1);
  }
  static __m512 HalfScale(const std::byte* block) {
    return _mm512_broadcastss_ps(_mm256_castps256_ps128(ScaleOf(block)));
  }
  static __m512 LoadPair(const std::byte* a, const std::byte* b, int i, __m512 scale) {
    const __m128i low = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(a + 2 + 8 * i));
    const __m128i high = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(b + 2 + 8 * i));
    return Widen(_mm_unpacklo_epi64(low, high), scale);
  }
  static __m512 LoadHalf(const std::byte* block, int i, __m512 scale) {
    return Widen(LoadHalfLine(block + 2 + 16 * i), scale);
  }

 private:
  static __m512 Widen(__m128i codes, __m512 scale) {
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)), scale);
  }
};

}  // namespace
}  // namespace octet
