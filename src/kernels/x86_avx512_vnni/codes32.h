// The codes of panels whose formats have blocks of 32 values.
#pragma once

#include "kernels/x86_avx512_vnni/panel.h"

namespace octet {
namespace {

// How a format gives its codes: Codes<kAhead>(main, b, w) sets the unsigned codes of values 4w … 4w
// + 3 of block b (low) and of the values 16 further (high). kOffset is what the codes lie above
// their value. kKept: whether many tokens read them unpacked, as unpacking takes long;
// and how many those are at least.

struct Q4_0Codes {
  static constexpr int kWords = 32, kOffset = 8;
  static constexpr bool kKept = false;
  static constexpr int64_t kManyTokens = 5;
  template <bool kAhead = true>
  static void Codes(const std::byte* main, int b, int w, __m512i* low, __m512i* high) {
    const __m512i nibble = _mm512_set1_epi8(0x0f), word = LoadWord<kAhead>(main, 4 * b + w);
    *low = _mm512_and_si512(word, nibble);
    *high = _mm512_and_si512(_mm512_srli_epi16(word, 4), nibble);
  }
};
struct Q4_1Codes : Q4_0Codes {
  static constexpr int kOffset = 0;
};

struct Q5_0Codes {
  static constexpr int kWords = 40, kOffset = 16;
  static constexpr bool kKept = true;
  static constexpr int64_t kManyTokens = 5;
  template <bool kAhead = true>
  static void Codes(const std::byte* main, int b, int w, __m512i* low, __m512i* high) {
    Q4_0Codes::Codes<kAhead>(main, b, w, low, high);
    *low = WithFifthBit<kAhead>(main, b, w, *low);
    *high = WithFifthBit<kAhead>(main, b, 4 + w, *high);
  }
  template <bool kAhead>
  static __m512i WithFifthBit(const std::byte* main, int b, int word, __m512i nibbles) {
    const std::byte* p = main + 64 * (32 + word);
    // Every block looks at these words; the first one asks for the next step's.
    if (kAhead && b == 0) AskAhead(p);
    const __m512i bits = _mm512_srl_epi16(_mm512_load_si512(p), _mm_cvtsi32_si128(b));
    const __m512i one = _mm512_and_si512(bits, _mm512_set1_epi8(1));
    return _mm512_or_si512(nibbles, _mm512_slli_epi16(one, 4));
  }
};
struct Q5_1Codes : Q5_0Codes {
  static constexpr int kOffset = 0;
};

struct Q8_0Codes {
  static constexpr int kWords = 64, kOffset = 128;
  static constexpr bool kKept = false;
  static constexpr int64_t kManyTokens = 9;
  template <bool kAhead = true>
  static void Codes(const std::byte* main, int b, int w, __m512i* low, __m512i* high) {
    *low = LoadWord<kAhead>(main, 8 * b + w);
    *high = LoadWord<kAhead>(main, 8 * b + 4 + w);
  }
};

struct Iq4Codes {
  static constexpr int kWords = 32, kOffset = 128;
  static constexpr bool kKept = false;
  static constexpr int64_t kManyTokens = 5;
  template <bool kAhead = true>
  static void Codes(const std::byte* main, int b, int w, __m512i* low, __m512i* high) {
    // The levels of quant/iq4_nl.h, each plus 128.
    const __m512i levels = _mm512_broadcast_i32x4(_mm_setr_epi8(
        1, 24, 45, 63, 79, 93, 106, 118, static_cast<char>(129), static_cast<char>(141),
        static_cast<char>(153), static_cast<char>(166), static_cast<char>(181),
        static_cast<char>(197), static_cast<char>(217), static_cast<char>(241)));
    Q4_0Codes::Codes<kAhead>(main, b, w, low, high);
    *low = _mm512_shuffle_epi8(levels, *low);
    *high = _mm512_shuffle_epi8(levels, *high);
  }
};

}  // namespace
}  // namespace octet
