// 16 × 16 words transposed: what makes one form of an operand of tile products the other.
#pragma once

#include <immintrin.h>

namespace octet {
namespace {

inline void TransposeWords(__m512i* row) {
  __m512i pair[16], quad[16];
  for (int i = 0; i < 8; ++i) {
    pair[2 * i] = _mm512_unpacklo_epi32(row[2 * i], row[2 * i + 1]);
    pair[2 * i + 1] = _mm512_unpackhi_epi32(row[2 * i], row[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {  // rows 4i … 4i+3: word 4j + w of each lane j
    quad[4 * i] = _mm512_unpacklo_epi64(pair[4 * i], pair[4 * i + 2]);
    quad[4 * i + 1] = _mm512_unpackhi_epi64(pair[4 * i], pair[4 * i + 2]);
    quad[4 * i + 2] = _mm512_unpacklo_epi64(pair[4 * i + 1], pair[4 * i + 3]);
    quad[4 * i + 3] = _mm512_unpackhi_epi64(pair[4 * i + 1], pair[4 * i + 3]);
  }
  for (int w = 0; w < 4; ++w) {
    const __m512i low02 = _mm512_shuffle_i32x4(quad[w], quad[4 + w], 0x88);
    const __m512i low13 = _mm512_shuffle_i32x4(quad[w], quad[4 + w], 0xdd);
    const __m512i high02 = _mm512_shuffle_i32x4(quad[8 + w], quad[12 + w], 0x88);
    const __m512i high13 = _mm512_shuffle_i32x4(quad[8 + w], quad[12 + w], 0xdd);
    row[w] = _mm512_shuffle_i32x4(low02, high02, 0x88);
    row[8 + w] = _mm512_shuffle_i32x4(low02, high02, 0xdd);
    row[4 + w] = _mm512_shuffle_i32x4(low13, high13, 0x88);
    row[12 + w] = _mm512_shuffle_i32x4(low13, high13, 0xdd);
  }
}

}  // namespace
}  // namespace octet
