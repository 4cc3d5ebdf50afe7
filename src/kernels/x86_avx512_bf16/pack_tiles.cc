// Floats to operands of bf16 tile products. Two rows of floats make one register of bf16: along a
// row they are consecutive, across rows interleaved; a transposition of words gives the other form.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx512/transpose.h"
#include "kernels/x86_avx512_bf16/interleave.h"

namespace octet {
namespace {

__mmask16 Rest(int64_t left) {
  return static_cast<__mmask16>(left >= 16 ? 0xffff : left <= 0 ? 0 : (1u << left) - 1);
}

/// Row r of the matrix, as floats or as bf16; rows past the end are zeros.
template <class T>
struct Source {
  const T* row;
  bool exists;
};
template <class T>
Source<T> RowOf(const PackTilesArgs& args, const T* x, int64_t r) {
  if (r >= args.rows) return {x, false};
  return {x + (args.row_of == nullptr ? r : args.row_of[r]) * args.x_stride, true};
}

/// 32 columns from `col` on, rounded. kWhole: all of them exist, and the row does.
template <bool kWhole>
__m512i Line(const Source<float>& source, int64_t col, int64_t cols) {
  if constexpr (kWhole)
    return Rounded(_mm512_loadu_ps(source.row + col), _mm512_loadu_ps(source.row + col + 16));
  if (!source.exists) return _mm512_setzero_si512();
  return Rounded(_mm512_maskz_loadu_ps(Rest(cols - col), source.row + col),
                 _mm512_maskz_loadu_ps(Rest(cols - col - 16), source.row + col + 16));
}
template <bool kWhole>
__m512i Line(const Source<uint16_t>& source, int64_t col, int64_t cols) {
  if constexpr (kWhole) return _mm512_loadu_si512(source.row + col);
  if (!source.exists) return _mm512_setzero_si512();
  const auto mask =
      static_cast<__mmask32>(Rest(cols - col) | static_cast<uint32_t>(Rest(cols - col - 16)) << 16);
  return _mm512_maskz_loadu_epi16(mask, source.row + col);
}

/// 16 columns from `col` on of two rows, in pairs.
template <bool kWhole>
__m512i Pairs(const Source<float>& even, const Source<float>& odd, int64_t col, int64_t cols) {
  if constexpr (kWhole)
    return Interleaved(_mm512_loadu_ps(even.row + col), _mm512_loadu_ps(odd.row + col));
  const __mmask16 first = even.exists ? Rest(cols - col) : __mmask16{0};
  const __mmask16 second = odd.exists ? Rest(cols - col) : __mmask16{0};
  return Interleaved(_mm512_maskz_loadu_ps(first, even.row + col),
                     _mm512_maskz_loadu_ps(second, odd.row + col));
}
template <bool kWhole>
__m512i Pairs(const Source<uint16_t>& even, const Source<uint16_t>& odd, int64_t col,
              int64_t cols) {
  const auto load = [&](const Source<uint16_t>& source) {
    if constexpr (kWhole)
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source.row + col));
    const __mmask16 mask = source.exists ? Rest(cols - col) : __mmask16{0};
    return _mm256_maskz_loadu_epi16(mask, source.row + col);
  };
  // Words of 32 bits: the even row's value below, the odd one's above.
  return _mm512_or_si512(_mm512_cvtepu16_epi32(load(even)),
                         _mm512_slli_epi32(_mm512_cvtepu16_epi32(load(odd)), 16));
}

void Store(uint16_t* out, const __m512i* words, bool streams) {
  if (streams) {
    for (int i = 0; i < 16; ++i)
      _mm512_stream_si512(reinterpret_cast<__m512i*>(out + 32 * i), words[i]);
  } else {
    for (int i = 0; i < 16; ++i) _mm512_store_si512(out + 32 * i, words[i]);
  }
}

/// A tile whose outputs are the sixteen rows of `source`, from column k on.
template <bool kWhole, class T>
inline void PackRowsTile(const Source<T>* source, int64_t k, const PackTilesArgs& args,
                         uint16_t* out) {
  __m512i words[16];
  for (int i = 0; i < 16; ++i) words[i] = Line<kWhole>(source[i], k, args.cols);
  if (args.pairs) TransposeWords(words);
  Store(out, words, args.streams);
}

/// Outputs are rows: 16 of them, the whole depth.
template <class T>
void PackRows(const PackTilesArgs& args, const T* x, int64_t panel) {
  Source<T> source[16];
  for (int64_t i = 0; i < 16; ++i) source[i] = RowOf(args, x, panel * 16 + i);
  uint16_t* out = args.out + panel * args.panel_tiles * kTileValues;
  const int64_t whole = source[15].exists ? args.cols / kTileDepth * kTileDepth : 0;
  int64_t k = 0;
  for (; k < whole; k += kTileDepth, out += kTileValues) PackRowsTile<true>(source, k, args, out);
  for (; k < args.cols; k += kTileDepth, out += kTileValues)
    PackRowsTile<false>(source, k, args, out);
}

/// A tile whose depth is the 32 rows of `source`, from column `col` on.
template <bool kWhole, class T>
inline void PackTurnedTile(const Source<T>* source, int64_t col, const PackTilesArgs& args,
                           uint16_t* out) {
  __m512i words[16];
  for (int p = 0; p < 16; ++p)
    words[p] = Pairs<kWhole>(source[2 * p], source[2 * p + 1], col, args.cols);
  if (!args.pairs) TransposeWords(words);
  Store(out, words, args.streams);
}

/// Outputs are columns: all of them, 32 of the depth.
template <class T>
void PackTurned(const PackTilesArgs& args, const T* x, int64_t tile) {
  Source<T> source[32];
  for (int64_t i = 0; i < 32; ++i) source[i] = RowOf(args, x, tile * kTileDepth + i);
  uint16_t* out = args.out + tile * kTileValues;
  const int64_t step = args.panel_tiles * kTileValues;
  const int64_t whole = source[31].exists ? args.cols / kTileOutputs * kTileOutputs : 0;
  int64_t col = 0;
  for (; col < whole; col += 16, out += step) PackTurnedTile<true>(source, col, args, out);
  for (; col < args.cols; col += 16, out += step) PackTurnedTile<false>(source, col, args, out);
}

template <class T>
void Pack(const PackTilesArgs& args, const T* x) {
  if (args.turned) {
    for (int64_t tile = 0; tile * kTileDepth < args.rows; ++tile) PackTurned(args, x, tile);
  } else {
    for (int64_t panel = 0; panel * 16 < args.rows; ++panel) PackRows(args, x, panel);
  }
  if (args.streams) _mm_sfence();
}

void PackTiles(const PackTilesArgs& args) {
  args.rounded == nullptr ? Pack(args, args.x) : Pack(args, args.rounded);
}

void RoundRows(const RoundRowsArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    const Source<float> source{args.x + r * args.x_stride, true};
    uint16_t* out = args.out + r * args.out_stride;
    const bool aligned = reinterpret_cast<uintptr_t>(out) % 64 == 0;
    int64_t c = 0;
    for (; aligned && c + 32 <= args.cols; c += 32) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(out + c), Line<true>(source, c, args.cols));
    }
    for (; c < args.cols; c += 32) {
      const auto mask = static_cast<__mmask32>(
          Rest(args.cols - c) | static_cast<uint32_t>(Rest(args.cols - c - 16)) << 16);
      _mm512_mask_storeu_epi16(out + c, mask, Line<false>(source, c, args.cols));
    }
  }
  _mm_sfence();
}

}  // namespace

OCTET_KERNELS(x86_avx512_bf16_pack_tiles) = {
    {.name = "x86_avx512_bf16/pack_tiles",
     .op = KernelOp::kPackTiles,
     .isa = kIsaAvx512 | kIsaAvx512Bf16,
     .speed = 35,
     .pack_tiles = PackTiles},
    {.name = "x86_avx512_bf16/round_rows",
     .op = KernelOp::kRoundRows,
     .isa = kIsaAvx512 | kIsaAvx512Bf16,
     .speed = 35,
     .round_rows = RoundRows},
    {},
};

}  // namespace octet
