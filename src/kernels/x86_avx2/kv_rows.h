// Rows of keys and values, of any stored format, as floats.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace octet {
namespace {

constexpr int32_t kRowBlock = 32;  // values of a block, four vectors

/// Of each format: kBytes, those of a block; Scale, what its four vectors have in common; Load,
/// vector i of it.
struct RowsF32 {
  static constexpr int32_t kBytes = 128;
  struct Scale {};
  static Scale ScaleOf(const std::byte*) { return {}; }
  static __m256 Load(const std::byte* block, int i, Scale) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(block) + 8 * i);
  }
};
struct RowsF16 {
  static constexpr int32_t kBytes = 64;
  struct Scale {};
  static Scale ScaleOf(const std::byte*) { return {}; }
  static __m256 Load(const std::byte* block, int i, Scale) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block) + i));
  }
};
struct RowsBf16 {
  static constexpr int32_t kBytes = 64;
  struct Scale {};
  static Scale ScaleOf(const std::byte*) { return {}; }
  static __m256 Load(const std::byte* block, int i, Scale) {
    const __m128i eight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block) + i);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(eight), 16));
  }
};
/// A value is code · scale, of 7 and 11 bits: exact.
struct RowsQ8 {
  static constexpr int32_t kBytes = 34;  // binary16 scale, 32 int8
  using Scale = __m256;
  static Scale ScaleOf(const std::byte* block) {
    uint16_t bits;
    __builtin_memcpy(&bits, block, sizeof bits);
    return _mm256_cvtph_ps(_mm_set1_epi16(static_cast<int16_t>(bits)));
  }
  static __m256 Load(const std::byte* block, int i, Scale scale) {
    const auto* codes = reinterpret_cast<const __m128i*>(block + 2 + 8 * i);
    const __m256i eight = _mm256_cvtepi8_epi32(_mm_loadl_epi64(codes));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(eight), scale);
  }
};

}  // namespace
}  // namespace octet
