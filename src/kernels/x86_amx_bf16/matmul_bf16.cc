// BF16 weights on bf16 tiles. Each output is one chain of tile products over k in order, in a tile
// or stored and loaded again between steps of 256 (which is exact), so its bits depend neither on
// how many tokens share a tile nor on the layout the weights came from.
#include "kernels/x86_amx_int8/tiles.h"
#include "kernels/x86_avx512/transpose.h"

namespace octet {
namespace {

constexpr int64_t kStepBytes = 8192;                // a step of a panel: 8 tiles of 32 k
constexpr int64_t kTileTokens = 16, kMaxTiles = 4;  // tiles of tokens that share a weight tile
constexpr int64_t kChunkTokens = kTileTokens * kMaxTiles;
// Panels that share a step's activations (32 KiB of 64 tokens) while those are in level 1, and
// tokens that share a step's weights while those are in level 2.
constexpr int64_t kGroupPanels = 16, kGroupTokens = 256, kGroupChunks = kGroupTokens / kChunkTokens;
constexpr int64_t kPrefetchBytes = 8192;  // ahead of a stream of weights that few tokens read

struct alignas(64) Sums {
  float tile[kMaxTiles][kTileTokens][16];
};
/// Memory of one call, in MatmulArgs::scratch.
struct Work {
  alignas(64) std::byte step[kGroupPanels][kStepBytes];  // repacked, for row-major weights
  Sums sums[kGroupPanels][kGroupChunks];
};

int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

/// Step s of the panel at `row` as quant/panel16.h has it, from the file's rows.
void Repack(const MatmulArgs& args, int64_t row, int64_t s, std::byte* out) {
  for (int64_t tile = 0; tile < 8; ++tile, out += 1024) {
    const int64_t k = s * kPanelStep + 32 * tile, left = args.cols - k;
    const uint32_t mask = left >= 32 ? ~0u : left <= 0 ? 0 : (1u << left) - 1;
    __m512i words[16];
    for (int64_t r = 0; r < kPanelRows; ++r) {
      const __mmask32 valid = row + r < args.rows ? mask : 0;
      words[r] = _mm512_maskz_loadu_epi16(valid, args.w + (row + r) * args.w_row_bytes + 2 * k);
    }
    TransposeWords(words);
    for (int r = 0; r < 16; ++r) _mm512_store_si512(out + 64 * r, words[r]);
  }
}

/// Step s of panel `panel` of the group that begins at `row`; row-major weights are repacked when
/// they are `fresh`, and kept.
template <Layout kLayout>
const std::byte* StepWeights(const MatmulArgs& args, int64_t row, int64_t panel, int64_t s,
                             bool fresh, Work* work) {
  if constexpr (kLayout == Layout::kPanel16) {
    const int64_t steps = (args.cols + kPanelStep - 1) / kPanelStep;
    return args.w + ((row / kPanelRows + panel) * steps + s) * kStepBytes;
  }
  if (fresh) Repack(args, row + panel * kPanelRows, s, work->step[panel]);
  return work->step[panel];
}

#define OCTET_BF16_A(n, i) OCTET_TILE_LOAD(n, x[(i)*kTileTokens].bf16 + 32 * tile, kRowBytes)

/// What will be read soon, to be fetched into cache level kHint (_MM_HINT_T0, _MM_HINT_T1).
struct Ahead {
  const std::byte* data;
  int64_t bytes;
};

/// Tiles 0 … kTiles-1 of sums += a step of weights times as many tiles of tokens.
template <int kTiles, auto kHint>
inline __attribute__((always_inline)) void AddStep(const RoundedBlock* x, const std::byte* w,
                                                   const Ahead& ahead) {
  constexpr int64_t kRowBytes = sizeof(RoundedBlock);
#pragma GCC unroll 8
  for (int tile = 0; tile < 8; ++tile) {
    OCTET_TILE_LOAD(6, w + 1024 * tile, 64);
    OCTET_BF16_A(4, 0);
    OCTET_TILE_DOT_BF16(0, 4, 6);
    if constexpr (kTiles > 1) {
      OCTET_BF16_A(5, 1);
      OCTET_TILE_DOT_BF16(1, 5, 6);
    }
    if constexpr (kTiles > 2) {
      OCTET_BF16_A(4, 2);
      OCTET_TILE_DOT_BF16(2, 4, 6);
    }
    if constexpr (kTiles > 3) {
      OCTET_BF16_A(5, 3);
      OCTET_TILE_DOT_BF16(3, 5, 6);
    }
    for (int64_t i = tile * ahead.bytes / 8; i < (tile + 1) * ahead.bytes / 8; i += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(ahead.data + i), kHint);
    }
  }
}

template <int kTiles>
void ZeroSums() {
  OCTET_TILE_ZERO(0);
  if constexpr (kTiles > 1) OCTET_TILE_ZERO(1);
  if constexpr (kTiles > 2) OCTET_TILE_ZERO(2);
  if constexpr (kTiles > 3) OCTET_TILE_ZERO(3);
}
template <int kTiles>
void LoadSums(const Sums& sums) {
  OCTET_TILE_LOAD(0, sums.tile[0], 64);
  if constexpr (kTiles > 1) OCTET_TILE_LOAD(1, sums.tile[1], 64);
  if constexpr (kTiles > 2) OCTET_TILE_LOAD(2, sums.tile[2], 64);
  if constexpr (kTiles > 3) OCTET_TILE_LOAD(3, sums.tile[3], 64);
}
template <int kTiles>
void StoreSums(Sums* sums) {
  OCTET_TILE_STORE(0, sums->tile[0], 64);
  if constexpr (kTiles > 1) OCTET_TILE_STORE(1, sums->tile[1], 64);
  if constexpr (kTiles > 2) OCTET_TILE_STORE(2, sums->tile[2], 64);
  if constexpr (kTiles > 3) OCTET_TILE_STORE(3, sums->tile[3], 64);
}

/// Calls run.template operator()<N>() for N = tiles.
template <class Run>
void WithTiles(int64_t tiles, Run run) {
  switch (tiles) {
    case 1:
      run.template operator()<1>();
      break;
    case 2:
      run.template operator()<2>();
      break;
    case 3:
      run.template operator()<3>();
      break;
    default:
      run.template operator()<4>();
      break;
  }
}

int64_t TilesOf(int64_t tokens) {
  return Least((tokens + kTileTokens - 1) / kTileTokens, kMaxTiles);
}

/// Sums of up to 64 tokens from `token` on to y.
void StoreRows(const MatmulArgs& args, const Sums& sums, int64_t row, int64_t token) {
  const int64_t rows = args.rows - row, tokens = Least(args.tokens - token, kChunkTokens);
  const auto mask = static_cast<__mmask16>(rows >= 16 ? 0xffff : (1u << rows) - 1);
  for (int64_t t = 0; t < tokens; ++t) {
    _mm512_mask_storeu_ps(args.y + (token + t) * args.y_stride + row, mask,
                          _mm512_load_ps(sums.tile[t / kTileTokens][t % kTileTokens]));
  }
}

/// Up to 16 tokens: a panel is one stream of memory, its sums stay in a tile.
template <Layout kLayout>
void FewTokens(const MatmulArgs& args, Work* work) {
  const int64_t steps = (args.cols + kPanelStep - 1) / kPanelStep;
  for (int64_t row = 0; row < args.rows; row += kPanelRows) {
    ZeroSums<1>();
    for (int64_t s = 0; s < steps; ++s) {
      const std::byte* w = StepWeights<kLayout>(args, row, 0, s, true, work);
      const Ahead ahead{w + kPrefetchBytes, kLayout == Layout::kPanel16 ? kStepBytes : 0};
      AddStep<1, _MM_HINT_T0>(args.xb + s * args.xq_tokens, w, ahead);
    }
    StoreSums<1>(&work->sums[0][0]);
    StoreRows(args, work->sums[0][0], row, 0);
  }
}

/// A group of panels and of tokens from (row, token) on. The weights of the step after are fetched
/// in equal parts while this one's are multiplied.
template <Layout kLayout>
void Group(const MatmulArgs& args, Work* work, int64_t row, int64_t token) {
  const int64_t steps = (args.cols + kPanelStep - 1) / kPanelStep;
  const int64_t panels = Least((args.rows - row + kPanelRows - 1) / kPanelRows, kGroupPanels);
  const int64_t tokens = Least(args.tokens - token, kGroupTokens);
  const int64_t chunks = (tokens + kChunkTokens - 1) / kChunkTokens;
  const int64_t share = kLayout == Layout::kPanel16 ? kStepBytes / chunks / 512 * 512 : 0;
  for (int64_t s = 0; s < steps; ++s) {
    const RoundedBlock* x = args.xb + s * args.xq_tokens + token;
    for (int64_t c = 0; c < chunks; ++c) {
      WithTiles(TilesOf(tokens - c * kChunkTokens), [&]<int N>() {
        for (int64_t p = 0; p < panels; ++p) {
          const std::byte* w = StepWeights<kLayout>(args, row, p, s, c == 0, work);
          Sums* sums = &work->sums[p][c];
          s == 0 ? ZeroSums<N>() : LoadSums<N>(*sums);
          AddStep<N, _MM_HINT_T1>(x + c * kChunkTokens, w, {w + kStepBytes + c * share, share});
          StoreSums<N>(sums);
        }
      });
    }
  }
  for (int64_t p = 0; p < panels; ++p) {
    for (int64_t c = 0; c < chunks; ++c) {
      StoreRows(args, work->sums[p][c], row + p * kPanelRows, token + c * kChunkTokens);
    }
  }
}

template <Layout kLayout>
void Matmul(const MatmulArgs& args) {
  if (args.tokens == 0) return;
  auto* work = reinterpret_cast<Work*>(args.scratch);
  ConfigureTiles(64);
  if (args.tokens <= kTileTokens) {
    FewTokens<kLayout>(args, work);
  } else {
    for (int64_t token = 0; token < args.tokens; token += kGroupTokens) {
      for (int64_t row = 0; row < args.rows; row += kGroupPanels * kPanelRows) {
        Group<kLayout>(args, work, row, token);
      }
    }
  }
  ReleaseTiles();
}

}  // namespace

#define OCTET_BF16_KERNEL(layout_id, layout_name)                                          \
  {                                                                                        \
    .name = "x86_amx_bf16/matmul_bf16." layout_name, .op = KernelOp::kMatmul,              \
    .isa = kIsaAvx512 | kIsaAvx512Vnni | kIsaAmxInt8 | kIsaAmxBf16, .speed = 40,           \
    .format = Format::kBf16, .layout = Layout::layout_id, .arithmetic = Arithmetic::kFast, \
    .activations = Activations::kBf16, .scratch_floats = sizeof(Work) / sizeof(float),     \
    .matmul = Matmul<Layout::layout_id>                                                    \
  }

OCTET_KERNELS(x86_amx_bf16_matmul_bf16) = {
    OCTET_BF16_KERNEL(kPanel16, "panel16"),
    OCTET_BF16_KERNEL(kRowMajor, "row_major"),
    {},
};

}  // namespace octet
