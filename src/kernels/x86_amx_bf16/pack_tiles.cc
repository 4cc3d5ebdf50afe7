// Floats to operands of bf16 tile products. Two rows of floats make one register of bf16: along a
// row they are consecutive, across rows interleaved; a transposition of words gives the other form.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_amx_bf16/interleave.h"
#include "kernels/x86_amx_bf16/transpose.h"

namespace octet {
namespace {

__mmask16 Rest(int64_t left) {
  return static_cast<__mmask16>(left >= 16 ? 0xffff : left <= 0 ? 0 : (1u << left) - 1);
}

/// Row r of x and what it is multiplied with; rows past the end are zeros.
struct Source {
  const float* row;
  __m512 scale;
  bool exists;
};
inline Source RowOf(const PackTilesArgs& args, int64_t r) {
  if (r >= args.rows) return {args.x, _mm512_setzero_ps(), false};
  const int64_t at = args.row_of == nullptr ? r : args.row_of[r];
  return {args.x + at * args.x_stride,
          _mm512_set1_ps(args.row_scale == nullptr ? 1.0f : args.row_scale[r]), true};
}
/// kWhole: all sixteen columns from `col` on exist, and the row does.
template <bool kScaled, bool kWhole>
inline __m512 Load(const Source& source, int64_t col, int64_t cols) {
  if constexpr (kWhole) {
    const __m512 x = _mm512_loadu_ps(source.row + col);
    return kScaled ? _mm512_mul_ps(x, source.scale) : x;
  }
  const __mmask16 mask = source.exists ? Rest(cols - col) : __mmask16{0};
  const __m512 x = _mm512_maskz_loadu_ps(mask, source.row + col);
  return kScaled ? _mm512_maskz_mul_ps(mask, x, source.scale) : x;
}

/// A tile whose outputs are the sixteen rows of `source`, from column k on.
template <bool kScaled, bool kWhole>
inline void PackRowsTile(const Source* source, int64_t k, const PackTilesArgs& args,
                         uint16_t* out) {
  __m512i words[16];
  for (int i = 0; i < 16; ++i) {
    words[i] = Rounded(Load<kScaled, kWhole>(source[i], k, args.cols),
                       Load<kScaled, kWhole>(source[i], k + 16, args.cols));
  }
  if (args.pairs) TransposeWords(words);
  for (int i = 0; i < 16; ++i) _mm512_store_si512(out + 32 * i, words[i]);
}

/// Outputs are rows: 16 of them, the whole depth.
template <bool kScaled>
void PackRows(const PackTilesArgs& args, int64_t panel) {
  Source source[16];
  for (int64_t i = 0; i < 16; ++i) source[i] = RowOf(args, panel * 16 + i);
  uint16_t* out = args.out + panel * args.panel_tiles * kTileValues;
  const int64_t whole = source[15].exists ? args.cols / kTileDepth * kTileDepth : 0;
  int64_t k = 0;
  for (; k < whole; k += kTileDepth, out += kTileValues)
    PackRowsTile<kScaled, true>(source, k, args, out);
  for (; k < args.cols; k += kTileDepth, out += kTileValues)
    PackRowsTile<kScaled, false>(source, k, args, out);
}

/// A tile whose depth is the 32 rows of `source`, from column `col` on.
template <bool kScaled, bool kWhole>
inline void PackTurnedTile(const Source* source, int64_t col, const PackTilesArgs& args,
                           uint16_t* out) {
  __m512i words[16];
  for (int p = 0; p < 16; ++p) {
    words[p] = Interleaved(Load<kScaled, kWhole>(source[2 * p], col, args.cols),
                           Load<kScaled, kWhole>(source[2 * p + 1], col, args.cols));
  }
  if (!args.pairs) TransposeWords(words);
  for (int p = 0; p < 16; ++p) _mm512_store_si512(out + 32 * p, words[p]);
}

/// Outputs are columns: all of them, 32 of the depth.
template <bool kScaled>
void PackTurned(const PackTilesArgs& args, int64_t tile) {
  Source source[32];
  for (int64_t i = 0; i < 32; ++i) source[i] = RowOf(args, tile * kTileDepth + i);
  uint16_t* out = args.out + tile * kTileValues;
  const int64_t step = args.panel_tiles * kTileValues;
  const int64_t whole = source[31].exists ? args.cols / kTileOutputs * kTileOutputs : 0;
  int64_t col = 0;
  for (; col < whole; col += 16, out += step) PackTurnedTile<kScaled, true>(source, col, args, out);
  for (; col < args.cols; col += 16, out += step)
    PackTurnedTile<kScaled, false>(source, col, args, out);
}

void PackTiles(const PackTilesArgs& args) {
  const bool scaled = args.row_scale != nullptr;
  if (args.turned) {
    for (int64_t tile = 0; tile * kTileDepth < args.rows; ++tile)
      scaled ? PackTurned<true>(args, tile) : PackTurned<false>(args, tile);
  } else {
    for (int64_t panel = 0; panel * 16 < args.rows; ++panel)
      scaled ? PackRows<true>(args, panel) : PackRows<false>(args, panel);
  }
}

}  // namespace

OCTET_KERNELS(x86_amx_bf16_pack_tiles) = {
    {.name = "x86_amx_bf16/pack_tiles",
     .op = KernelOp::kPackTiles,
     .isa = kIsaAvx512 | kIsaAvx512Vnni | kIsaAmxInt8 | kIsaAmxBf16,
     .speed = 40,
     .pack_tiles = PackTiles},
    {},
};

}  // namespace octet
