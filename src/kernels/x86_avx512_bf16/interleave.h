// Two registers of floats to one of bf16.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace octet {
namespace {

/// One after the other.
inline __m512i Rounded(__m512 low, __m512 high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

/// In pairs, one of each.
inline __m512i Interleaved(__m512 even, __m512 odd) {
  alignas(64) static constexpr uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                      21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                      11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), Rounded(even, odd));
}

}  // namespace
}  // namespace octet
