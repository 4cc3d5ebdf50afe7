// The formats with super-blocks of 256 values and integer scales, as tile.h reads them.
#pragma once

#include "kernels/x86_avx2/walk.h"

namespace octet {
namespace {

/// What they share.
template <class F, int kGroupsOf>
struct IntegerScales {
  static constexpr Activations kActivations = Activations::kInt8;
  static constexpr int kGroups = kGroupsOf, kParts = kGroups, kPasses = 1, kOffset = 0, kBias = 0;
  static constexpr bool kMins = false, kKept = true, kFolded = false;

  template <int N, bool kKeptTile>
  OCTET_ALWAYS_INLINE static void Tile(const Unit& unit, const ActivationBlock* x, TileSums* acc,
                                       const Ahead& ahead) {
    ScaledTile<F, N, kKeptTile>(unit, x, acc, ahead);
  }

  static void PrepareMany(Unit* unit) {
    for (int pass = 0; pass < F::kPasses; ++pass) {
      for (int g = 0; g < kGroups; g += F::kTogether) {
#pragma GCC unroll 16
        for (int j = 0; j < F::kTogether; ++j) UnpackGroup(unit, pass, g, j);
      }
    }
  }

  /// Codes, and with kFolded scale · (code - kOffset) + kBias, all within 0 … 255: so two of them
  /// are one product of 16 bits.
  OCTET_ALWAYS_INLINE static void UnpackGroup(Unit* unit, int pass, int g, int j) {
    constexpr int kWords = 64 / kGroups;
    const auto both = [](int byte) { return _mm256_set1_epi16(static_cast<int16_t>(257 * byte)); };
    for (int h = 0; h < kHalves; ++h) {
      const __m256i scale = ShuffleLanes(unit->scale[g + j][h], 0x01000100);
      const __m256i start =
          _mm256_sub_epi16(both(F::kBias), _mm256_mullo_epi16(scale, both(F::kOffset)));
#pragma GCC unroll 8
      for (int w = 0; w < kWords; ++w) {
        const __m256i codes = F::Code(unit->main, pass, g, j, w, h);
        unit->code[pass][kWords * (g + j) + w][h] =
            F::kFolded ? _mm256_add_epi16(_mm256_mullo_epi16(codes, scale), start) : codes;
      }
    }
  }

 protected:
  /// Two groups' scales times -kOffset.
  static void PrepareOffsets(Unit* unit) {
    for (int i = 0; i < kGroups / 2; ++i) {
      for (int h = 0; h < kHalves; ++h) {
        const __m256i pair = ScalesPair(unit->scale[2 * i][h], unit->scale[2 * i + 1][h]);
        unit->pair[i][h] = _mm256_mullo_epi16(pair, _mm256_set1_epi16(-F::kOffset));
      }
    }
  }
};

/// Q4_K and Q5_K: F adds where the scales lie and the codes.
template <class F>
struct SixBitScales : IntegerScales<F, 8> {
  static constexpr int kTailBytes = 64;
  static constexpr bool kMins = true;

  static void Prepare(const std::byte* main, const std::byte* tail, Unit* unit) {
    unit->main = main;
    const __m256i top = _mm256_set1_epi8(0x30);
    const auto second = [&](__m256i low, __m256i high) {
      return _mm256_or_si256(low, _mm256_and_si256(_mm256_srli_epi32(high, 2), top));
    };
    for (int h = 0; h < kHalves; ++h) {
      const __m256i z0 = LoadWord(main, F::kScalesAt, h), z1 = LoadWord(main, F::kScalesAt + 1, h),
                    z2 = LoadWord(main, F::kScalesAt + 2, h);
      // Byte j: groups j and 4 + j.
      const __m256i scales[2] = {Field(z0, 0, 0x3f), second(Field(z2, 0, 15), z0)};
      const __m256i mins[2] = {Field(z1, 0, 0x3f), second(Field(z2, 4, 15), z1)};
#pragma GCC unroll 8
      for (int g = 0; g < 8; ++g) unit->scale[g][h] = GroupScale(scales[g / 4], g % 4);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) unit->pair[i][h] = BytePair(mins[i / 2], i % 2);
      unit->d[h] = LoadHalves(tail, h);
      unit->dmin[h] = LoadHalves(tail + 32, h);
    }
  }
};

struct Q4_K : SixBitScales<Q4_K> {
  static constexpr int kMainBytes = 2240, kScalesAt = 32, kTogether = 2, kRun = 8;

  OCTET_ALWAYS_INLINE static __m256i Code(const std::byte* main, int, int g, int j, int w, int h) {
    return Field(LoadWord(main, 4 * g + w, h), 4 * j, 15);
  }
};

struct Q5_K : SixBitScales<Q5_K> {
  static constexpr int kMainBytes = 2752, kScalesAt = 40, kTogether = 8, kRun = 4;

  OCTET_ALWAYS_INLINE static __m256i Code(const std::byte* main, int, int, int j, int w, int h) {
    const __m256i nibbles = Field(LoadWord(main, 8 * (j / 2) + w, h), 4 * (j % 2), 15);
    const __m256i bits = LoadWord(main, 32 + w, h);  // bit j of a byte
    const __m256i moved = j < 4 ? _mm256_slli_epi16(bits, 4 - j) : _mm256_srli_epi16(bits, j - 4);
    return _mm256_or_si256(nibbles, _mm256_and_si256(moved, _mm256_set1_epi8(0x10)));
  }
};

struct Q2_K : IntegerScales<Q2_K, 16> {
  static constexpr int kMainBytes = 1280, kTailBytes = 64, kTogether = 8, kRun = 4;
  // A scale times a code is at most 45.
  static constexpr bool kMins = true, kFolded = kVnni;

  static void Prepare(const std::byte* main, const std::byte* tail, Unit* unit) {
    unit->main = main;
    for (int h = 0; h < kHalves; ++h) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m256i word = LoadWord(main, 16 + i, h);  // groups 4i … 4i + 3
        const __m256i scales = Field(word, 0, 15), mins = Field(word, 4, 15);
        for (int j = 0; j < 4; ++j) unit->scale[4 * i + j][h] = GroupScale(scales, j);
        for (int j = 0; j < 2; ++j) unit->pair[2 * i + j][h] = BytePair(mins, j);
      }
      unit->d[h] = LoadHalves(tail, h);
      unit->dmin[h] = LoadHalves(tail + 32, h);
    }
  }

  /// Groups 2 · run and 2 · run + 1 of a half of the step are the halves of a run of 32 values.
  OCTET_ALWAYS_INLINE static __m256i Code(const std::byte* main, int, int g, int j, int w, int h) {
    return Field(LoadWord(main, g + 4 * (j % 2) + w, h), 2 * (j / 2), 3);
  }
};

struct Q6_K : IntegerScales<Q6_K, 16> {
  static constexpr int kMainBytes = 3328, kTailBytes = 32, kTogether = 8, kRun = 2, kOffset = 32;

  static void Prepare(const std::byte* main, const std::byte* tail, Unit* unit) {
    unit->main = main;
    for (int h = 0; h < kHalves; ++h) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m256i scales = LoadWord(main, 48 + i, h);
        for (int j = 0; j < 4; ++j) unit->scale[4 * i + j][h] = SignedGroupScale(scales, j);
      }
      unit->d[h] = LoadHalves(tail, h);
    }
    PrepareOffsets(unit);
  }

  OCTET_ALWAYS_INLINE static __m256i Code(const std::byte* main, int, int g, int j, int w, int h) {
    const int run = j / 2, word = 4 * (j % 2) + w;
    const __m256i low = Field(LoadWord(main, 2 * g + 8 * (run % 2) + word, h), 4 * (run / 2), 15);
    const __m256i bits = LoadWord(main, 32 + g + word, h);
    const __m256i top =
        run < 2 ? _mm256_slli_epi16(bits, 4 - 2 * run) : _mm256_srli_epi16(bits, 2 * run - 4);
    return _mm256_or_si256(low, _mm256_and_si256(top, _mm256_set1_epi8(0x30)));
  }
};

struct Q3_K : IntegerScales<Q3_K, 16> {
  static constexpr int kMainBytes = 1728, kTailBytes = 32, kTogether = 16, kRun = 4, kOffset = 4;
  // A scale times a weight lies in [-124, 128]; 124 more fit one unsigned byte.
  static constexpr int kBias = 124;
  static constexpr bool kFolded = kVnni;

  static void Prepare(const std::byte* main, const std::byte* tail, Unit* unit) {
    unit->main = main;
    for (int h = 0; h < kHalves; ++h) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m256i low = Field(LoadWord(main, 24 + i % 2, h), 4 * (i / 2), 15);
        const __m256i top = Field(LoadWord(main, 26, h), 2 * i, 3);
        const __m256i scales =
            _mm256_sub_epi8(_mm256_or_si256(low, _mm256_slli_epi16(top, 4)), _mm256_set1_epi8(32));
        for (int j = 0; j < 4; ++j) unit->scale[4 * i + j][h] = SignedGroupScale(scales, j);
      }
      unit->d[h] = LoadHalves(tail, h);
    }
    PrepareOffsets(unit);
  }

  OCTET_ALWAYS_INLINE static __m256i Code(const std::byte* main, int, int, int j, int w, int h) {
    const int word = 4 * (j % 2) + w, bit = j / 2;
    const __m256i low = Field(LoadWord(main, 8 * (j / 8) + word, h), 2 * (bit % 4), 3);
    const __m256i bits = LoadWord(main, 16 + word, h);
    const __m256i third =
        bit < 2 ? _mm256_slli_epi16(bits, 2 - bit) : _mm256_srli_epi16(bits, bit - 2);
    return _mm256_or_si256(low, _mm256_and_si256(third, _mm256_set1_epi8(4)));
  }
};

}  // namespace
}  // namespace octet
