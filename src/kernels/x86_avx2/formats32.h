// The formats with blocks of 32 values, a float scale each, and IQ4_XS, whose groups of 32 have
// integer scales, as tile.h reads them. Codes of eight bits are unsigned; without VNNI they are
// multiplied in two halves of four bits, as vpmaddubsw's sums of two would not fit 16 bits.
#pragma once

#include "kernels/x86_avx2/formats_k.h"

namespace octet {
namespace {

// Code(main, pass, b, w, half) as in tile.h.

struct Q4_0Codes {
  static constexpr int kMainWords = 32, kOffset = 8, kPasses = 1, kRun = 8;
  static constexpr bool kKept = true;
  OCTET_ALWAYS_INLINE static __m256i Code(const std::byte* main, int, int b, int w, int h) {
    return Field(LoadWord(main, 4 * b + w % 4, h), 4 * (w / 4), 15);
  }
};
struct Q4_1Codes : Q4_0Codes {
  static constexpr int kOffset = 0;
};

struct Q5_0Codes {
  static constexpr int kMainWords = 40, kOffset = 16, kPasses = 1, kRun = 4;
  static constexpr bool kKept = true;
  OCTET_ALWAYS_INLINE static __m256i Code(const std::byte* main, int, int b, int w, int h) {
    const __m256i bits = _mm256_srl_epi16(LoadWord(main, 32 + w, h), _mm_cvtsi32_si128(b));
    const __m256i fifth = _mm256_and_si256(bits, _mm256_set1_epi8(1));
    return _mm256_or_si256(Q4_0Codes::Code(main, 0, b, w, h), _mm256_slli_epi16(fifth, 4));
  }
};
struct Q5_1Codes : Q5_0Codes {
  static constexpr int kOffset = 0;
};

struct Q8_0Codes {
  static constexpr int kMainWords = 64, kOffset = 128, kPasses = kVnni ? 1 : 2, kRun = 8;
  static constexpr bool kKept = !kVnni;  // with VNNI they lie ready in the panel
  OCTET_ALWAYS_INLINE static __m256i Code(const std::byte* main, int pass, int b, int w, int h) {
    const __m256i codes = LoadWord(main, 8 * b + w, h);
    return kVnni ? codes : Field(codes, 4 * pass, 15);
  }
};

struct Iq4Codes {
  static constexpr int kMainWords = 32, kOffset = 128, kPasses = kVnni ? 1 : 2, kRun = 8;
  static constexpr bool kKept = true;
  OCTET_ALWAYS_INLINE static __m256i Code(const std::byte* main, int pass, int b, int w, int h) {
    // The levels of quant/iq4_nl.h, each plus 128.
    __m256i levels = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        1, 24, 45, 63, 79, 93, 106, 118, static_cast<char>(129), static_cast<char>(141),
        static_cast<char>(153), static_cast<char>(166), static_cast<char>(181),
        static_cast<char>(197), static_cast<char>(217), static_cast<char>(241)));
    if (!kVnni) levels = Field(levels, 4 * pass, 15);
    return _mm256_shuffle_epi8(levels, Q4_0Codes::Code(main, 0, b, w, h));
  }
};

/// A float scale a block, and with kMinsOf an offset.
template <class C, bool kMinsOf>
struct FloatBlocks : C {
  static constexpr int kMainBytes = 64 * C::kMainWords + (kMinsOf ? 512 : 256), kTailBytes = 0,
                       kParts = 8;
  static constexpr bool kMins = kMinsOf;
  static constexpr Activations kActivations = Activations::kInt8Per32;

  static __m256 Scale(const std::byte* main, int b, int h) {
    return LoadHalves(main + 64 * C::kMainWords + 32 * b, h);
  }
  static __m256 Min(const std::byte* main, int b, int h) {
    return LoadHalves(main + 64 * C::kMainWords + 256 + 32 * b, h);
  }

  static void Prepare(const std::byte* main, const std::byte*, Unit* unit) { unit->main = main; }

  static void PrepareMany(Unit* unit) {
    for (int b = 0; b < 8; ++b) {
      for (int h = 0; h < kHalves; ++h) {
        unit->scale[b][h] = _mm256_castps_si256(Scale(unit->main, b, h));
        if (kMins) unit->pair[b][h] = _mm256_castps_si256(Min(unit->main, b, h));
        if constexpr (!C::kKept) continue;
#pragma GCC unroll 2
        for (int pass = 0; pass < C::kPasses; ++pass) {
#pragma GCC unroll 8
          for (int w = 0; w < 8; ++w)
            unit->code[pass][8 * b + w][h] = C::Code(unit->main, pass, b, w, h);
        }
      }
    }
  }

  template <int N, bool kKeptTile>
  OCTET_ALWAYS_INLINE static void Tile(const Unit& unit, const ActivationBlock* x, TileSums* acc,
                                       const Ahead& ahead) {
    FloatTile<FloatBlocks, N, kKeptTile>(unit, x, acc, ahead);
  }
};

using Q4_0 = FloatBlocks<Q4_0Codes, false>;
using Q4_1 = FloatBlocks<Q4_1Codes, true>;
using Q5_0 = FloatBlocks<Q5_0Codes, false>;
using Q5_1 = FloatBlocks<Q5_1Codes, true>;
using Q8_0 = FloatBlocks<Q8_0Codes, false>;
using Iq4_Nl = FloatBlocks<Iq4Codes, false>;

struct Iq4_Xs : IntegerScales<Iq4_Xs, 8> {
  static constexpr int kMainBytes = 2112, kTailBytes = 64, kTogether = 1;
  static constexpr int kPasses = Iq4Codes::kPasses, kRun = Iq4Codes::kRun, kOffset = 128;

  static void Prepare(const std::byte* main, const std::byte* tail, Unit* unit) {
    unit->main = main;
    for (int h = 0; h < kHalves; ++h) {
      // Group g: bits 4g of `low`, 2g of `top`.
      const __m256i low = LoadWord(main, 32, h);
      const __m256i top =
          _mm256_cvtepu16_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(tail + 16 * h)));
#pragma GCC unroll 8
      for (int g = 0; g < 8; ++g) {
        const __m256i low_bits =
            _mm256_and_si256(_mm256_srli_epi32(low, 4 * g), _mm256_set1_epi32(15));
        const __m256i top_bits =
            _mm256_and_si256(_mm256_srli_epi32(top, 2 * g), _mm256_set1_epi32(3));
        const __m256i scale = _mm256_sub_epi32(
            _mm256_or_si256(low_bits, _mm256_slli_epi32(top_bits, 4)), _mm256_set1_epi32(32));
        unit->scale[g][h] = kVnni ? scale : ShuffleLanes(scale, 0x01000100);
      }
      unit->d[h] = LoadHalves(tail + 32, h);
    }
    PrepareOffsets(unit);
  }

  OCTET_ALWAYS_INLINE static __m256i Code(const std::byte* main, int pass, int g, int, int w,
                                          int h) {
    return Iq4Codes::Code(main, pass, g, w, h);
  }
};

}  // namespace
}  // namespace octet
