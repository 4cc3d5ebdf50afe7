// Panels of the formats with integer scales times many tokens, on AMX.
#include "kernels/x86_amx_int8/few_loop.h"

namespace octet {
namespace {

/// Weights of a unit times their scales: rows of tile B, 64 bytes = 16 outputs × 4 k.
struct alignas(64) UnpackedTiles {
  std::byte low[4][16][64];
  std::byte high[4][16][64];
};

/// What a unit's epilogue needs, one lane an output row.
struct alignas(64) UnitScales {
  __m512 d, dmin;
  __m512i min_pair[8];  // int16 pairs, see the format's PairSums
  __m512i words[4];     // the format's own, for its unpacking
};

/// What the epilogue needs of a step's tokens.
struct StepInput {
  alignas(64) int32_t pair[kChunkTokens][8];
  alignas(64) float scale[kChunkTokens];
};

struct alignas(64) TileSums {
  int32_t low[kBlockTokens][16];
  int32_t high[kBlockTokens][16];
};

/// Sums by two tiles a weight: the product with its group's scale is a 16-bit integer, split into a
/// low part (unsigned) and a high one (signed) that are int8 tiles; 2^kHighShift·high + low is the
/// sum over a step. F adds: kHigh (false where one byte holds the product), kHighShift, kBias (what
/// the byte lies above it), kMinPairs (pairs of minima), PairSums, ReadScales, Unpack.
template <class F>
struct IntegerScales {
  using Tiles = UnpackedTiles;
  using Scales = UnitScales;
  using Sums = TileSums;
  using Input = StepInput;
  static constexpr Activations kActivations = Activations::kInt8;
  static constexpr int kDepth = 64;
  // From memory on two threads, a panel and step of Q4_K: 4 tokens 159 ns, the vector kernel 177;
  // of Q6_K, which takes longer to unpack: 5 tokens 313 and 277, 8 tokens 314 and 327.
  static constexpr int kMinTokens = 8;
  static constexpr int kMinRowTokens = 9;

  static constexpr int kStages = 1;

  static void ReadToken(const ActivationBlock& x, int64_t t, StepInput* input) {
    F::PairSums(x, input->pair[t]);
    input->scale[t] = x.scale;
  }

  /// The first quarter stores the sums of the block before.
  template <bool kBoth, bool kBothBefore>
  static inline __attribute__((always_inline)) void Products(const TokenPlace& x,
                                                             const UnpackedTiles& tiles,
                                                             int quarter, TileSums* before) {
    OCTET_TILE_LOAD(6, tiles.low[quarter], 64);
    OCTET_TILE_LOAD(4, x.at(0, quarter), x.row);
    if (quarter == 0) {
      OCTET_TILE_STORE(0, before->low, 64);
      OCTET_TILE_ZERO(0);
    }
    OCTET_TILE_DOT_SU(0, 4, 6);
    if constexpr (kBoth) OCTET_TILE_LOAD(5, x.at(1, quarter), x.row);
    if (kBothBefore && quarter == 0) {
      OCTET_TILE_STORE(1, before->low + 16, 64);
      OCTET_TILE_ZERO(1);
    }
    if constexpr (kBoth) OCTET_TILE_DOT_SU(1, 5, 6);
    if constexpr (!F::kHigh) return;
    OCTET_TILE_LOAD(7, tiles.high[quarter], 64);
    if (quarter == 0) {
      OCTET_TILE_STORE(2, before->high, 64);
      OCTET_TILE_ZERO(2);
    }
    OCTET_TILE_DOT_SS(2, 4, 7);
    if (kBothBefore && quarter == 0) {
      OCTET_TILE_STORE(3, before->high + 16, 64);
      OCTET_TILE_ZERO(3);
    }
    if constexpr (kBoth) OCTET_TILE_DOT_SS(3, 5, 7);
  }

  static void Flush(TileSums* sums) {
    OCTET_TILE_STORE(0, sums->low, 64);
    OCTET_TILE_STORE(1, sums->low + 16, 64);
    if constexpr (!F::kHigh) return;
    OCTET_TILE_STORE(2, sums->high, 64);
    OCTET_TILE_STORE(3, sums->high + 16, 64);
  }

  /// Rows [first, first + 8) of the 32.
  static inline __attribute__((always_inline)) void EpilogueRows(const Pending<F>& p,
                                                                 int64_t first) {
    // Held in registers over the rows: loads are what an epilogue has most of.
    const __m512 d = p.scales->d, dmin = p.scales->dmin;
    __m512i min_pair[F::kMinPairs + 1];
    for (int j = 0; j < F::kMinPairs; ++j) min_pair[j] = p.scales->min_pair[j];
    const float* scale = p.input->scale + p.token + first;
    const int32_t(*pair)[8] = p.input->pair + p.token + first;
    const int32_t(*low)[16] = p.sums->low + first;
    const int32_t(*high)[16] = p.sums->high + first;
    float(*acc)[16] = p.acc + p.token + first;
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      __m512i isum = _mm512_load_si512(low[i]);
      if constexpr (F::kHigh) {
        isum = _mm512_add_epi32(isum, _mm512_slli_epi32(_mm512_load_si512(high[i]), F::kHighShift));
      }
      if constexpr (F::kBias != 0) isum = _mm512_sub_epi32(isum, _mm512_set1_epi32(pair[i][0]));
      __m512 v = _mm512_mul_ps(d, _mm512_cvtepi32_ps(isum));
      if constexpr (F::kMinPairs != 0) {
        __m512i imin = _mm512_setzero_si512();
        for (int j = 0; j < F::kMinPairs; ++j) {
          imin = _mm512_dpwssd_epi32(imin, min_pair[j], _mm512_set1_epi32(pair[i][j]));
        }
        v = _mm512_fnmadd_ps(dmin, _mm512_cvtepi32_ps(imin), v);
      }
      _mm512_store_ps(acc[i], _mm512_fmadd_ps(v, _mm512_set1_ps(scale[i]), _mm512_load_ps(acc[i])));
    }
  }
};

inline __m512i Word(const std::byte* main, int word) { return _mm512_load_si512(main + 64 * word); }
inline __m512 Halves(const std::byte* p) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
}

/// Bytes of every 32-bit lane by a pattern for the first of four; 0x80 makes a zero.
inline __m512i LaneBytes(__m512i words, int pattern, int lane_step) {
  const __m512i lane =
      _mm512_broadcast_i32x4(_mm_setr_epi32(0, 4 * lane_step, 8 * lane_step, 12 * lane_step));
  return _mm512_shuffle_epi8(words, _mm512_add_epi32(lane, _mm512_set1_epi32(pattern)));
}
/// Byte j of every lane in both of its 16-bit halves.
inline __m512i ScalePair(__m512i words, int j) {
  return LaneBytes(words, static_cast<int>(0x80008000u) | j | j << 16, 0x00010001);
}
inline __m512i SignedScalePair(__m512i words, int j) {
  return _mm512_srai_epi16(LaneBytes(words, 0x00800080 | j << 8 | j << 24, 0x01000100), 8);
}

/// Stores the low and the high bytes of the products of the even and of the odd bytes' weights.
template <bool kHigh>
inline void SplitProducts(__m512i even, __m512i odd, std::byte* low, std::byte* high) {
  const __m512i low_byte = _mm512_set1_epi16(0xff);
  // (low_byte & a) | (~low_byte & b)
  _mm512_store_si512(low,
                     _mm512_ternarylogic_epi32(low_byte, even, _mm512_slli_epi16(odd, 8), 0xca));
  if constexpr (kHigh) {
    _mm512_store_si512(high,
                       _mm512_ternarylogic_epi32(low_byte, _mm512_srli_epi16(even, 8), odd, 0xca));
  }
}

template <bool kHigh>
inline void StoreProducts(__m512i even, __m512i odd, __m512i scale, std::byte* low,
                          std::byte* high) {
  SplitProducts<kHigh>(_mm512_mullo_epi16(even, scale), _mm512_mullo_epi16(odd, scale), low, high);
}

/// The same from 8-bit codes that lie kOffset above their values.
template <bool kHigh, int kOffset>
inline void StoreCodes(__m512i codes, __m512i scale, std::byte* low, std::byte* high) {
  __m512i even = _mm512_and_si512(codes, _mm512_set1_epi16(0xff));
  __m512i odd = _mm512_srli_epi16(codes, 8);
  if constexpr (kOffset != 0) {
    even = _mm512_sub_epi16(even, _mm512_set1_epi16(kOffset));
    odd = _mm512_sub_epi16(odd, _mm512_set1_epi16(kOffset));
  }
  StoreProducts<kHigh>(even, odd, scale, low, high);
}

/// Scales of Q4_K and Q5_K: words[0..1] are groups 0–3 and 4–7 as bytes; minima as pairs of groups
/// (0,2) (1,3) (4,6) (5,7).
inline void Scales6(const std::byte* main, const std::byte* tail, int word, UnitScales* out) {
  const __m512i z0 = Word(main, word), z1 = Word(main, word + 1), z2 = Word(main, word + 2);
  const __m512i six = _mm512_set1_epi8(0x3f), low = _mm512_set1_epi8(0x0f),
                top = _mm512_set1_epi8(0x30), even = _mm512_set1_epi32(0x00ff00ff);
  const auto second = [&](__m512i low_bits, __m512i high_bits) {
    return _mm512_or_si512(_mm512_and_si512(low_bits, low),
                           _mm512_and_si512(_mm512_srli_epi32(high_bits, 2), top));
  };
  out->words[0] = _mm512_and_si512(z0, six);
  out->words[1] = second(z2, z0);
  const __m512i mins[2] = {_mm512_and_si512(z1, six), second(_mm512_srli_epi32(z2, 4), z1)};
  for (int half = 0; half < 2; ++half) {
    out->min_pair[2 * half] = _mm512_and_si512(mins[half], even);
    out->min_pair[2 * half + 1] = _mm512_and_si512(_mm512_srli_epi32(mins[half], 8), even);
  }
  out->d = Halves(tail);
  out->dmin = Halves(tail + 32);
}

/// Sums of the eight groups in the order of the minima.
inline void PairSums32(const ActivationBlock& x, int32_t* pair) {
  const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
  const __m128i sums = _mm_load_si128(reinterpret_cast<const __m128i*>(x.sum32));
  _mm_store_si128(reinterpret_cast<__m128i*>(pair), _mm_shuffle_epi8(sums, order));
}

template <Layout kWeightLayout>
struct Q4_K : IntegerScales<Q4_K<kWeightLayout>> {
  static constexpr Layout kLayout = kWeightLayout;
  static constexpr int kMainBytes = 2240, kTailBytes = 64, kMinPairs = 4, kBias = 0;
  static constexpr int kHighShift = 4, kMinTokens = 4;
  static constexpr bool kHigh = true;

  static void PairSums(const ActivationBlock& x, int32_t* pair) { PairSums32(x, pair); }
  static void ReadScales(const std::byte* main, const std::byte* tail, UnitScales* out) {
    Scales6(main, tail, 32, out);
  }
  /// The parts are the code times either nibble of the scale: at most 225 and 45, so the products
  /// of two neighbouring codes are one 16-bit multiplication.
  static void Unpack(const std::byte* main, const UnitScales& scales, int quarter,
                     UnpackedTiles* tiles) {
    const __m512i nibble = _mm512_set1_epi8(0x0f);
    for (int half = 0; half < 2; ++half) {
      const __m512i scale = ScalePair(scales.words[quarter / 2], 2 * (quarter % 2) + half);
      const __m512i low = _mm512_and_si512(scale, nibble), high = _mm512_srli_epi16(scale, 4);
      for (int g = 0; g < 8; ++g) {
        const __m512i w = Word(main, 8 * quarter + g);
        const __m512i codes = _mm512_and_si512(half == 0 ? w : _mm512_srli_epi16(w, 4), nibble);
        _mm512_store_si512(tiles->low[quarter][8 * half + g], _mm512_mullo_epi16(codes, low));
        _mm512_store_si512(tiles->high[quarter][8 * half + g], _mm512_mullo_epi16(codes, high));
      }
    }
  }
};

template <Layout kWeightLayout>
struct Q5_K : IntegerScales<Q5_K<kWeightLayout>> {
  static constexpr Layout kLayout = kWeightLayout;
  static constexpr int kMainBytes = 2752, kTailBytes = 64, kMinPairs = 4, kBias = 0;
  static constexpr int kHighShift = 8;
  static constexpr bool kHigh = true;

  static void PairSums(const ActivationBlock& x, int32_t* pair) { PairSums32(x, pair); }
  static void ReadScales(const std::byte* main, const std::byte* tail, UnitScales* out) {
    Scales6(main, tail, 40, out);
  }
  static void Unpack(const std::byte* main, const UnitScales& scales, int quarter,
                     UnpackedTiles* tiles) {
    const __m512i nibble = _mm512_set1_epi8(0x0f), bit = _mm512_set1_epi8(1);
    const __m512i words = scales.words[quarter / 2];
    for (int g = 0; g < 8; ++g) {
      const __m512i w = Word(main, 8 * quarter + g), bits = Word(main, 32 + g);
      for (int i = 0; i < 2; ++i) {
        const __m128i group = _mm_cvtsi32_si128(2 * quarter + i);
        const __m512i fifth = _mm512_and_si512(_mm512_srl_epi16(bits, group), bit);
        const __m512i low = _mm512_and_si512(i == 0 ? w : _mm512_srli_epi16(w, 4), nibble);
        StoreCodes<true, 0>(_mm512_or_si512(low, _mm512_slli_epi16(fifth, 4)),
                            ScalePair(words, 2 * (quarter % 2) + i), tiles->low[quarter][8 * i + g],
                            tiles->high[quarter][8 * i + g]);
      }
    }
  }
};

/// A group's scale for unsigned codes of 6 bits that lie 32 above their values: in the even bytes,
/// in the odd ones, and 32 times in 16 bits. With these the product of a code takes two operations
/// instead of three.
struct CodeScale {
  explicit CodeScale(__m512i pair)
      : even(_mm512_and_si512(pair, _mm512_set1_epi16(0xff))),
        odd(_mm512_slli_epi16(pair, 8)),
        offset(_mm512_slli_epi16(pair, 5)) {}
  void Store(__m512i codes, std::byte* low, std::byte* high) const {
    SplitProducts<true>(_mm512_sub_epi16(_mm512_maddubs_epi16(codes, even), offset),
                        _mm512_sub_epi16(_mm512_maddubs_epi16(codes, odd), offset), low, high);
  }
  __m512i even, odd, offset;
};

/// Where a run of 32 values of half h goes: two runs a tile of 64.
struct RunPlace {
  RunPlace(int h, int run, int g) : quarter(2 * h + run / 2), row(8 * (run % 2) + g) {}
  int quarter, row;
};

template <Layout kWeightLayout>
struct Q6_K : IntegerScales<Q6_K<kWeightLayout>> {
  static constexpr Layout kLayout = kWeightLayout;
  static constexpr int kMainBytes = 3328, kTailBytes = 32, kMinPairs = 0, kBias = 0;
  static constexpr int kHighShift = 8;
  static constexpr bool kHigh = true;

  static void PairSums(const ActivationBlock&, int32_t*) {}
  static void ReadScales(const std::byte* main, const std::byte* tail, UnitScales* out) {
    for (int i = 0; i < 4; ++i) out->words[i] = Word(main, 48 + i);
    out->d = Halves(tail);
  }
  static void Unpack(const std::byte* main, const UnitScales& scales, int quarter,
                     UnpackedTiles* tiles) {
    const __m512i nibble = _mm512_set1_epi8(0x0f), crumb = _mm512_set1_epi8(0x30);
    const int h = quarter / 2, quad = quarter % 2;  // four words of every run of half h
    const auto scale_of = [&](int run) {
      return CodeScale(SignedScalePair(scales.words[2 * h + run / 2], 2 * (run % 2) + quad));
    };
    const CodeScale scale[4] = {scale_of(0), scale_of(1), scale_of(2), scale_of(3)};
    for (int g = 4 * quad; g < 4 * quad + 4; ++g) {
      const __m512i a = Word(main, 16 * h + g), b = Word(main, 16 * h + 8 + g);
      const __m512i top = Word(main, 32 + 8 * h + g);
      const auto join = [&](__m512i x, __m512i y) {  // x's low nibble, y's bits 4 and 5
        return _mm512_ternarylogic_epi32(nibble, x, _mm512_and_si512(y, crumb), 0xca);
      };
      const __m512i codes[4] = {join(a, _mm512_slli_epi16(top, 4)),
                                join(b, _mm512_slli_epi16(top, 2)),
                                join(_mm512_srli_epi16(a, 4), top),
                                join(_mm512_srli_epi16(b, 4), _mm512_srli_epi16(top, 2))};
      for (int run = 0; run < 4; ++run) {
        const RunPlace at(h, run, g);
        scale[run].Store(codes[run], tiles->low[at.quarter][at.row],
                         tiles->high[at.quarter][at.row]);
      }
    }
  }
};

/// A scale times a weight lies in [-124, 128]; 124 more fit one unsigned byte, and are taken off
/// again as 124 times the sum of the token's codes.
template <Layout kWeightLayout>
struct Q3_K : IntegerScales<Q3_K<kWeightLayout>> {
  static constexpr Layout kLayout = kWeightLayout;
  static constexpr int kMainBytes = 1728, kTailBytes = 32, kMinPairs = 0, kBias = 124;
  static constexpr bool kHigh = false;

  static void PairSums(const ActivationBlock& x, int32_t* pair) {
    int32_t sum = 0;
    for (const int16_t part : x.sum32) sum += part;
    pair[0] = kBias * sum;
  }
  static void ReadScales(const std::byte* main, const std::byte* tail, UnitScales* out) {
    const __m512i z0 = Word(main, 24), z1 = Word(main, 25), z2 = Word(main, 26);
    const __m512i low = _mm512_set1_epi8(0x0f), top = _mm512_set1_epi8(0x30);
    const auto join = [&](__m512i low_bits, __m512i high_bits) {
      const __m512i sum =
          _mm512_or_si512(_mm512_and_si512(low_bits, low), _mm512_and_si512(high_bits, top));
      return _mm512_sub_epi8(sum, _mm512_set1_epi8(32));
    };
    out->words[0] = join(z0, _mm512_slli_epi32(z2, 4));
    out->words[1] = join(z1, _mm512_slli_epi32(z2, 2));
    out->words[2] = join(_mm512_srli_epi32(z0, 4), z2);
    out->words[3] = join(_mm512_srli_epi32(z1, 4), _mm512_srli_epi32(z2, 2));
    out->d = Halves(tail);
  }
  static void Unpack(const std::byte* main, const UnitScales& scales, int quarter,
                     UnpackedTiles* tiles) {
    const __m512i crumb = _mm512_set1_epi8(3), bit = _mm512_set1_epi8(1);
    const int h = quarter / 2, quad = quarter % 2;
    for (int run = 0; run < 4; ++run) {
      const __m512i scale = SignedScalePair(scales.words[2 * h + run / 2], 2 * (run % 2) + quad);
      for (int g = 4 * quad; g < 4 * quad + 4; ++g) {
        const __m512i low = _mm512_srl_epi16(Word(main, 8 * h + g), _mm_cvtsi32_si128(2 * run));
        const __m512i third = _mm512_srl_epi16(Word(main, 16 + g), _mm_cvtsi32_si128(4 * h + run));
        const __m512i codes = _mm512_or_si512(_mm512_and_si512(low, crumb),
                                              _mm512_slli_epi16(_mm512_and_si512(third, bit), 2));
        const RunPlace at(h, run, g);
        std::byte* row = tiles->low[at.quarter][at.row];
        StoreCodes<false, 4>(codes, scale, row, nullptr);
        _mm512_store_si512(row, _mm512_add_epi8(_mm512_load_si512(row), _mm512_set1_epi8(kBias)));
      }
    }
  }
};

/// A scale times a code is at most 45: one tile.
template <Layout kWeightLayout>
struct Q2_K : IntegerScales<Q2_K<kWeightLayout>> {
  static constexpr Layout kLayout = kWeightLayout;
  static constexpr int kMainBytes = 1280, kTailBytes = 64, kMinPairs = 8, kBias = 0;
  static constexpr bool kHigh = false;

  /// Sums of the sixteen groups, in each four the order 0, 2, 1, 3.
  static void PairSums(const ActivationBlock& x, int32_t* pair) {
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
    const __m256i sums = _mm256_load_si256(reinterpret_cast<const __m256i*>(x.sum16));
    _mm256_store_si256(reinterpret_cast<__m256i*>(pair), _mm256_shuffle_epi8(sums, order));
  }
  static void ReadScales(const std::byte* main, const std::byte* tail, UnitScales* out) {
    const __m512i nibble = _mm512_set1_epi32(0x000f000f);
    for (int i = 0; i < 4; ++i) {
      const __m512i z = Word(main, 16 + i);
      out->words[i] = _mm512_and_si512(z, _mm512_set1_epi8(0x0f));
      out->min_pair[2 * i] = _mm512_and_si512(_mm512_srli_epi32(z, 4), nibble);
      out->min_pair[2 * i + 1] = _mm512_and_si512(_mm512_srli_epi32(z, 12), nibble);
    }
    out->d = Halves(tail);
    out->dmin = Halves(tail + 32);
  }
  static void Unpack(const std::byte* main, const UnitScales& scales, int quarter,
                     UnpackedTiles* tiles) {
    const int h = quarter / 2, quad = quarter % 2;
    for (int run = 0; run < 4; ++run) {
      const __m512i scale = ScalePair(scales.words[2 * h + run / 2], 2 * (run % 2) + quad);
      for (int g = 4 * quad; g < 4 * quad + 4; ++g) {
        const __m512i codes =
            _mm512_and_si512(_mm512_srl_epi16(Word(main, 8 * h + g), _mm_cvtsi32_si128(2 * run)),
                             _mm512_set1_epi8(3));
        const RunPlace at(h, run, g);
        StoreCodes<false, 0>(codes, scale, tiles->low[at.quarter][at.row], nullptr);
      }
    }
  }
};

template <Layout kWeightLayout>
struct Iq4_Xs : IntegerScales<Iq4_Xs<kWeightLayout>> {
  static constexpr Layout kLayout = kWeightLayout;
  static constexpr int kMainBytes = 2112, kTailBytes = 64, kMinPairs = 0, kBias = 0;
  static constexpr int kHighShift = 8;
  static constexpr bool kHigh = true;

  static void PairSums(const ActivationBlock&, int32_t*) {}
  /// words[0..1]: groups 0–3 and 4–7 as signed bytes.
  static void ReadScales(const std::byte* main, const std::byte* tail, UnitScales* out) {
    const __m512i low = Word(main, 32);
    const __m512i top =
        _mm512_cvtepu16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(tail)));
    for (int half = 0; half < 2; ++half) {
      __m512i bytes = _mm512_setzero_si512();
      for (int j = 0; j < 4; ++j) {
        const int g = 4 * half + j;
        const __m512i low_bits = _mm512_and_si512(_mm512_srl_epi32(low, _mm_cvtsi32_si128(4 * g)),
                                                  _mm512_set1_epi32(15));
        const __m512i top_bits =
            _mm512_and_si512(_mm512_srl_epi32(top, _mm_cvtsi32_si128(2 * g)), _mm512_set1_epi32(3));
        const __m512i scale = _mm512_or_si512(low_bits, _mm512_slli_epi32(top_bits, 4));
        bytes = _mm512_or_si512(bytes, _mm512_sll_epi32(scale, _mm_cvtsi32_si128(8 * j)));
      }
      out->words[half] = _mm512_sub_epi8(bytes, _mm512_set1_epi8(32));
    }
    out->d = Halves(tail + 32);
  }
  static void Unpack(const std::byte* main, const UnitScales& scales, int quarter,
                     UnpackedTiles* tiles) {
    const __m512i levels = _mm512_broadcast_i32x4(
        _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113));
    const __m512i nibble = _mm512_set1_epi8(0x0f);
    for (int b = 2 * quarter; b < 2 * quarter + 2; ++b) {
      const __m512i scale = SignedScalePair(scales.words[b / 4], b % 4);
      for (int w = 0; w < 4; ++w) {
        const __m512i word = Word(main, 4 * b + w);
        for (int half = 0; half < 2; ++half) {
          const __m512i nibbles =
              _mm512_and_si512(half == 0 ? word : _mm512_srli_epi16(word, 4), nibble);
          const __m512i weights = _mm512_shuffle_epi8(levels, nibbles);
          const int row = 8 * (b % 2) + 4 * half + w;
          StoreProducts<true>(_mm512_srai_epi16(_mm512_slli_epi16(weights, 8), 8),
                              _mm512_srai_epi16(weights, 8), scale, tiles->low[quarter][row],
                              tiles->high[quarter][row]);
        }
      }
    }
  }
};

}  // namespace

OCTET_KERNELS(x86_amx_int8_matmul_k) = {
    OCTET_AMX_KERNELS("q4_k", kQ4_K, Q4_K),
    OCTET_AMX_KERNELS("q5_k", kQ5_K, Q5_K),
    OCTET_AMX_KERNELS("q6_k", kQ6_K, Q6_K),
    OCTET_AMX_KERNELS("q3_k", kQ3_K, Q3_K),
    OCTET_AMX_KERNELS("q2_k", kQ2_K, Q2_K),
    OCTET_AMX_KERNELS("iq4_xs", kIq4_Xs, Iq4_Xs),
    {},
};

}  // namespace octet
