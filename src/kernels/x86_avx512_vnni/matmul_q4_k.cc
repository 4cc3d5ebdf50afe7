// Q4_K and Q5_K panels times int8 activations: groups of 32 values, 6-bit scales and minima.
#include "kernels/x86_avx512_vnni/many.h"

namespace octet {
namespace {

/// Whether a load asks for later lines, and from where. Processors with AMX read these two formats
/// fastest from nearer than the others, Zen 5 does not (both measured).
enum class Ask { kNone, kNear, kUsual };

template <Ask kAsk>
__m512i Load(const std::byte* main, int word) {
  if constexpr (kAsk == Ask::kNear) return LoadWord<true, 3072, 1024>(main, word);
  return LoadWord<kAsk == Ask::kUsual>(main, word);
}

/// Byte j of a lane of [half] is the field of group 4 · half + j.
struct GroupScales {
  __m512i scales[2], mins[2];

  __m512i Scale(int group) const { return UnsignedByte(scales[group / 4], group % 4); }
};

template <Ask kAsk>
GroupScales UnpackScales(const std::byte* main, int word) {
  const __m512i z0 = Load<kAsk>(main, word), z1 = Load<kAsk>(main, word + 1),
                z2 = Load<kAsk>(main, word + 2);
  const __m512i six = _mm512_set1_epi8(0x3f), low = _mm512_set1_epi8(0x0f),
                top = _mm512_set1_epi8(0x30);
  const auto second = [&](__m512i low_bits, __m512i high_bits) {
    return _mm512_or_si512(_mm512_and_si512(low_bits, low),
                           _mm512_and_si512(_mm512_srli_epi32(high_bits, 2), top));
  };
  return {{_mm512_and_si512(z0, six), second(z2, z0)},
          {_mm512_and_si512(z1, six), second(_mm512_srli_epi32(z2, 4), z1)}};
}

/// acc[t] += scale · (d · isum − dmin · imin), rounded as quant/integer_dot.h says.
template <int N>
void AddStep(const std::byte* tail, const GroupScales& scales, const __m512i* isum,
             const StepX<N>& x, __m512* acc) {
  __m512i mins[4];
  for (int pair = 0; pair < 4; ++pair) mins[pair] = BytePair(scales.mins[pair / 2], pair % 2);
  const __m512 d = LoadHalves(tail), dmin = LoadHalves(tail + 32);
  for (int t = 0; t < N; ++t) {
    const __m512 v = _mm512_mul_ps(d, _mm512_cvtepi32_ps(isum[t]));
    const __m512 least =
        _mm512_cvtepi32_ps(PairSum<4>(mins, x.block[t].sum32, _mm512_setzero_si512()));
    acc[t] = _mm512_fmadd_ps(_mm512_fnmadd_ps(dmin, least, v), x.Scale(t), acc[t]);
  }
}

/// What a step's tokens share.
inline void PrepareScales(const std::byte* main, int word, const std::byte* tail, Unit* unit) {
  const GroupScales scales = UnpackScales<Ask::kNone>(main, word);
  for (int g = 0; g < 8; ++g) unit->scale[g] = scales.Scale(g);
  for (int pair = 0; pair < 4; ++pair)
    unit->min_pair[pair] = BytePair(scales.mins[pair / 2], pair % 2);
  unit->main = main;
  unit->d = LoadHalves(tail);
  unit->dmin = LoadHalves(tail + 32);
}

template <Ask kAhead>
struct Q4_K {
  static constexpr int kMainBytes = 2240, kTailBytes = 64, kGroup = 8;
  static constexpr Activations kActivations = Activations::kInt8;

  template <int N, bool kFirst>
  static void Step(const std::byte* main, const std::byte* tail, const StepX<N>& x, __m512* acc) {
    constexpr Ask kAsk = kFirst ? kAhead : Ask::kNone;
    const __m512i low_mask = _mm512_set1_epi8(0x0f), high_mask = _mm512_set1_epi8(-16);
    const GroupScales scales = UnpackScales<kAsk>(main, 32);
    __m512i isum[N];
    for (int t = 0; t < N; ++t) isum[t] = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) {
      __m512i low[N], high[N];
      for (int t = 0; t < N; ++t) low[t] = high[t] = _mm512_setzero_si512();
      for (int g = 0; g < 8; ++g) {
        const __m512i word = Load<kAsk>(main, 8 * p + g);
        const __m512i low_codes = _mm512_and_si512(word, low_mask);
        const __m512i high_codes = _mm512_and_si512(word, high_mask);  // 16 times the code
        for (int t = 0; t < N; ++t) {
          low[t] = _mm512_dpbusd_epi32(low[t], low_codes, x.Four(t, 64 * p + 4 * g));
          high[t] = _mm512_dpbusd_epi32(high[t], high_codes, x.Four(t, 64 * p + 32 + 4 * g));
        }
      }
      const __m512i low_scale = scales.Scale(2 * p), high_scale = scales.Scale(2 * p + 1);
      for (int t = 0; t < N; ++t) {
        isum[t] = _mm512_add_epi32(isum[t], _mm512_mullo_epi32(low[t], low_scale));
        isum[t] = _mm512_add_epi32(isum[t],
                                   _mm512_mullo_epi32(_mm512_srai_epi32(high[t], 4), high_scale));
      }
    }
    AddStep(tail, scales, isum, x, acc);
  }

  static constexpr int kGroups = 8, kTogether = 2, kOffset = 0, kMinPairs = 4, kBias = 0;
  static constexpr int64_t kManyTokens = 3;
  static constexpr int kParts = kWordParts;
  static constexpr int64_t kAheadBytes = kWordsAheadBytes;
  static constexpr bool kScaled = true;

  static void Prepare(const std::byte* main, const std::byte* tail, Unit* unit) {
    PrepareScales(main, 32, tail, unit);
  }

  /// Straight from the panel: beside six tokens that costs nothing.
  static __m512i Code(const Unit& unit, int g, int j, int w) {
    const __m512i nibble = _mm512_set1_epi8(0x0f);
    if (j == 0) return _mm512_and_si512(Load<Ask::kNone>(unit.main, 4 * g + w), nibble);
    const __m512i word = Load<Ask::kNone>(unit.main, 4 * g + w);
    return _mm512_and_si512(_mm512_srli_epi16(word, 4), nibble);
  }

  template <int N>
  static void Tile(const Unit* unit, const ActivationBlock* x, TileSums* acc, const Ahead& ahead) {
    ScaledTile<Q4_K, N>(unit, x, acc, ahead);
  }
};

template <Ask kAhead>
struct Q5_K {
  static constexpr int kMainBytes = 2752, kTailBytes = 64, kGroup = 8;
  static constexpr Activations kActivations = Activations::kInt8;

  template <int N, bool kFirst>
  static void Step(const std::byte* main, const std::byte* tail, const StepX<N>& x, __m512* acc) {
    constexpr Ask kAsk = kFirst ? kAhead : Ask::kNone;
    const __m512i low_mask = _mm512_set1_epi8(0x0f);
    const GroupScales scales = UnpackScales<kAsk>(main, 40);
    __m512i isum[N];
    for (int t = 0; t < N; ++t) isum[t] = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) {
      __m512i low[N], high[N];
      for (int t = 0; t < N; ++t) low[t] = high[t] = _mm512_setzero_si512();
      for (int g = 0; g < 8; ++g) {
        const __m512i word = Load<kAsk>(main, 8 * p + g);
        const __m512i bits =
            p == 0 ? Load<kAsk>(main, 32 + g) : _mm512_load_si512(main + 64 * (32 + g));
        const __m512i low_codes = WithFifth(_mm512_and_si512(word, low_mask), bits, 2 * p);
        const __m512i high_codes =
            WithFifth(_mm512_and_si512(_mm512_srli_epi16(word, 4), low_mask), bits, 2 * p + 1);
        for (int t = 0; t < N; ++t) {
          low[t] = _mm512_dpbusd_epi32(low[t], low_codes, x.Four(t, 64 * p + 4 * g));
          high[t] = _mm512_dpbusd_epi32(high[t], high_codes, x.Four(t, 64 * p + 32 + 4 * g));
        }
      }
      const __m512i low_scale = scales.Scale(2 * p), high_scale = scales.Scale(2 * p + 1);
      for (int t = 0; t < N; ++t) {
        isum[t] = _mm512_add_epi32(isum[t], _mm512_mullo_epi32(low[t], low_scale));
        isum[t] = _mm512_add_epi32(isum[t], _mm512_mullo_epi32(high[t], high_scale));
      }
    }
    AddStep(tail, scales, isum, x, acc);
  }

  static constexpr int kGroups = 8, kTogether = 1, kOffset = 0, kMinPairs = 4, kBias = 0;
  static constexpr int64_t kManyTokens = 5;
  static constexpr int kParts = kWordParts;
  static constexpr int64_t kAheadBytes = kWordsAheadBytes;
  static constexpr bool kScaled = true;

  static void Prepare(const std::byte* main, const std::byte* tail, Unit* unit) {
    const __m512i nibble = _mm512_set1_epi8(0x0f);
    PrepareScales(main, 40, tail, unit);
    for (int w = 0; w < 8; ++w) {
      const __m512i bits = Load<Ask::kNone>(main, 32 + w);
#pragma GCC unroll 4
      for (int p = 0; p < 4; ++p) {
        const __m512i word = Load<Ask::kNone>(main, 8 * p + w);
        unit->code[16 * p + w] = WithFifth(_mm512_and_si512(word, nibble), bits, 2 * p);
        unit->code[16 * p + 8 + w] =
            WithFifth(_mm512_and_si512(_mm512_srli_epi16(word, 4), nibble), bits, 2 * p + 1);
      }
    }
  }

  static __m512i Code(const Unit& unit, int g, int j, int w) { return unit.code[8 * (g + j) + w]; }

  template <int N>
  static void Tile(const Unit* unit, const ActivationBlock* x, TileSums* acc, const Ahead& ahead) {
    ScaledTile<Q5_K, N>(unit, x, acc, ahead);
  }

 private:
  /// Bit `group` of a byte is its fifth bit; moved to bit 4.
  static __m512i WithFifth(__m512i nibbles, __m512i bits, int group) {
    const __m512i moved = group < 4 ? _mm512_slli_epi16(bits, static_cast<unsigned>(4 - group))
                                    : _mm512_srli_epi16(bits, static_cast<unsigned>(group - 4));
    // nibbles | (moved & fifth)
    return _mm512_ternarylogic_epi32(nibbles, moved, _mm512_set1_epi8(0x10), 0xf8);
  }
};

/// The walk of one panel of processors with AMX; more tokens are the others'.
template <template <Ask> class F>
void MatmulNear(const MatmulArgs& args) {
  using Usual = F<Ask::kUsual>;
  args.tokens < Usual::kManyTokens ? MatmulPanels<F<Ask::kNear>>(args)
                                   : MatmulMany<Usual, Layout::kPanel16>(args);
}

}  // namespace

#define OCTET_NEAR_KERNEL(format_name, id, step)                                            \
  {                                                                                         \
    .name = "x86_avx512_vnni/matmul_" format_name ".panel16.near", .op = KernelOp::kMatmul, \
    .isa = kIsaAvx512 | kIsaAvx512Vnni | kIsaAmxInt8, .speed = 31, .format = Format::id,    \
    .layout = Layout::kPanel16, .arithmetic = Arithmetic::kFast,                            \
    .activations = step<Ask::kNear>::kActivations, .scratch_floats = kManyScratch,          \
    .matmul = MatmulNear<step>                                                              \
  }

OCTET_KERNELS(x86_avx512_vnni_matmul_q4_k) = {
    OCTET_VNNI_KERNELS("q4_k", kQ4_K, Q4_K<Ask::kUsual>),
    OCTET_VNNI_KERNELS("q5_k", kQ5_K, Q5_K<Ask::kUsual>),
    OCTET_NEAR_KERNEL("q4_k", kQ4_K, Q4_K),
    OCTET_NEAR_KERNEL("q5_k", kQ5_K, Q5_K),
    {},
};

}  // namespace octet
