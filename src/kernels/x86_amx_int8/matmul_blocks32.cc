// Panels of the formats with a float scale per 32 values times many tokens, on AMX. Their sums must
// become floats every 32 of k, so a product is 32 deep and each has its own tile of sums.
#include "kernels/x86_amx_int8/few_loop.h"
#include "kernels/x86_avx512_vnni/codes32.h"

namespace octet {
namespace {

/// Weights as signed bytes: block, row of tile B, 16 outputs × 4 k.
struct alignas(64) BlockTiles {
  std::byte weight[8][8][64];
};
struct alignas(64) BlockScales {
  __m512 d[8], m[8];
};
/// What the epilogue needs of a step's tokens: scales, and the sums of codes as floats.
struct StepInput {
  alignas(64) float scale[kChunkTokens][8], sum[kChunkTokens][8];
};
/// Of two of them.
struct alignas(64) BlockSums32 {
  int32_t sum[2][kBlockTokens][16];
};

/// C: the codes of a format (codes32.h). kMins: value = d · code + m.
template <class C, bool kMins, Layout kWeightLayout>
struct FloatScales {
  using Tiles = BlockTiles;
  using Scales = BlockScales;
  using Sums = BlockSums32;
  using Input = StepInput;
  static constexpr Layout kLayout = kWeightLayout;
  static constexpr int kMainBytes = 64 * C::kWords + (kMins ? 512 : 256), kTailBytes = 0;
  static constexpr Activations kActivations = Activations::kInt8Per32;
  static constexpr int kDepth = 32;
  // From memory on two threads, a panel and step, 8 tokens: Q8_0 299 ns, the vector kernel 306;
  // Q4_0 199 and 221. A file's rows take the walk for prompts.
  static constexpr int kMinTokens = 8, kMinRowTokens = 16;

  static void ReadToken(const ActivationBlock& x, int64_t t, StepInput* input) {
    _mm256_store_ps(input->scale[t], _mm256_load_ps(x.scale32));
    if constexpr (kMins) {
      const __m128i sums = _mm_load_si128(reinterpret_cast<const __m128i*>(x.sum32));
      _mm256_store_ps(input->sum[t], _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(sums)));
    }
  }

  static void ReadScales(const std::byte* main, const std::byte*, BlockScales* out) {
    const std::byte* halves = main + 64 * C::kWords;
    for (int b = 0; b < 8; ++b) {
      out->d[b] = LoadHalves(halves + 32 * b);
      if constexpr (kMins) out->m[b] = LoadHalves(halves + 256 + 32 * b);
    }
  }

  static void Unpack(const std::byte* main, const BlockScales&, int quarter, BlockTiles* tiles) {
    const __m512i offset = _mm512_set1_epi8(static_cast<char>(C::kOffset));
    for (int b = 2 * quarter; b < 2 * quarter + 2; ++b) {
      for (int w = 0; w < 4; ++w) {
        __m512i low, high;
        C::Codes(main, b, w, &low, &high);
        _mm512_store_si512(tiles->weight[b][w], _mm512_sub_epi8(low, offset));
        _mm512_store_si512(tiles->weight[b][4 + w], _mm512_sub_epi8(high, offset));
      }
    }
  }

  static constexpr int kStages = 4;

  /// Two blocks of 32 a quarter, which is a stage; the sums of the two before are stored first.
  template <bool kBoth, bool kBothBefore>
  static inline __attribute__((always_inline)) void Products(const TokenPlace& x,
                                                             const BlockTiles& tiles, int quarter,
                                                             BlockSums32* before) {
    const int b = 2 * quarter;
    OCTET_TILE_LOAD(6, tiles.weight[b], 64);
    OCTET_TILE_LOAD(4, x.at(0, quarter), x.row);
    OCTET_TILE_STORE(0, before->sum[0], 64);
    OCTET_TILE_ZERO(0);
    OCTET_TILE_DOT_SS(0, 4, 6);
    if constexpr (kBoth) OCTET_TILE_LOAD(5, x.at(1, quarter), x.row);
    if constexpr (kBothBefore) {
      OCTET_TILE_STORE(1, before->sum[0] + 16, 64);
      OCTET_TILE_ZERO(1);
    }
    if constexpr (kBoth) OCTET_TILE_DOT_SS(1, 5, 6);
    OCTET_TILE_LOAD(7, tiles.weight[b + 1], 64);
    OCTET_TILE_LOAD(4, x.at(0, quarter) + 32, x.row);
    OCTET_TILE_STORE(2, before->sum[1], 64);
    OCTET_TILE_ZERO(2);
    OCTET_TILE_DOT_SS(2, 4, 7);
    if constexpr (kBoth) OCTET_TILE_LOAD(5, x.at(1, quarter) + 32, x.row);
    if constexpr (kBothBefore) {
      OCTET_TILE_STORE(3, before->sum[1] + 16, 64);
      OCTET_TILE_ZERO(3);
    }
    if constexpr (kBoth) OCTET_TILE_DOT_SS(3, 5, 7);
  }

  static void Flush(BlockSums32* sums) {
    OCTET_TILE_STORE(0, sums->sum[0], 64);
    OCTET_TILE_STORE(1, sums->sum[0] + 16, 64);
    OCTET_TILE_STORE(2, sums->sum[1], 64);
    OCTET_TILE_STORE(3, sums->sum[1] + 16, 64);
  }

  /// Rows [first, first + 8) of the 32, rounded as quant/integer_dot.h says.
  static inline __attribute__((always_inline)) void EpilogueRows(const Pending<FloatScales>& p,
                                                                 int64_t first) {
    const int b = 2 * p.stage;
    const __m512 d[2] = {p.scales->d[b], p.scales->d[b + 1]};
    const __m512 m[2] = {kMins ? p.scales->m[b] : d[0], kMins ? p.scales->m[b + 1] : d[0]};
    const float(*scale)[8] = p.input->scale + p.token + first;
    const float(*codes)[8] = p.input->sum + p.token + first;
    const int32_t(*sums)[kBlockTokens][16] = p.sums->sum;
    float(*acc)[16] = p.acc + p.token + first;
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      __m512 sum = _mm512_load_ps(acc[i]);
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const __m512i isum = _mm512_load_si512(sums[j][first + i]);
        __m512 v = _mm512_mul_ps(d[j], _mm512_cvtepi32_ps(isum));
        if constexpr (kMins) v = _mm512_fmadd_ps(m[j], _mm512_set1_ps(codes[i][b + j]), v);
        sum = _mm512_fmadd_ps(v, _mm512_set1_ps(scale[i][b + j]), sum);
      }
      _mm512_store_ps(acc[i], sum);
    }
  }
};

template <Layout kLayout>
using Q4_0 = FloatScales<Q4_0Codes, false, kLayout>;
template <Layout kLayout>
using Q4_1 = FloatScales<Q4_1Codes, true, kLayout>;
template <Layout kLayout>
using Q5_0 = FloatScales<Q5_0Codes, false, kLayout>;
template <Layout kLayout>
using Q5_1 = FloatScales<Q5_1Codes, true, kLayout>;
template <Layout kLayout>
using Q8_0 = FloatScales<Q8_0Codes, false, kLayout>;
template <Layout kLayout>
using Iq4_Nl = FloatScales<Iq4Codes, false, kLayout>;

}  // namespace

OCTET_KERNELS(x86_amx_int8_matmul_blocks32) = {
    OCTET_AMX_KERNELS("q4_0", kQ4_0, Q4_0),
    OCTET_AMX_KERNELS("q4_1", kQ4_1, Q4_1),
    OCTET_AMX_KERNELS("q5_0", kQ5_0, Q5_0),
    OCTET_AMX_KERNELS("q5_1", kQ5_1, Q5_1),
    OCTET_AMX_KERNELS("q8_0", kQ8_0, Q8_0),
    OCTET_AMX_KERNELS("iq4_nl", kIq4_Nl, Iq4_Nl),
    {},
};

}  // namespace octet
