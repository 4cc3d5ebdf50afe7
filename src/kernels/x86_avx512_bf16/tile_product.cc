// Products of packed bf16 operands by vdpbf16ps, for machines without tiles: blocks of 8 rows × 2
// panels keep 16 sums in registers, so that a pair of values broadcast from a serves two lines of
// b, and ten loads sixteen products. Two panels of b stay in the first-level cache while the rows
// of a stream past; the panels to come are fetched into the second level meanwhile. A long depth is
// cut, with sums beside c until the last cut (which is exact).
//
// AMD's cores do as many vdpbf16ps a cycle as float32 fmas, each of twice the work. Intel's with
// AMX do fewer, but they have the tiles' kernel, which is of higher speed; so the few of Intel's
// that have this instruction and no tiles are the only ones that might do better in float32, and
// they still read half the bytes.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx512_bf16/panels_ahead.h"

namespace octet {
namespace {

constexpr int64_t kDepthTiles = 16;  // of a cut: two panels are 32 KiB
constexpr int64_t kRows = 256;       // of c at once, whose part of a stays in the second level
constexpr int64_t kSide = kTileOutputs, kBlockCols = 2 * kSide;
constexpr int64_t kPairs = kTileDepth / 2, kPairValues = 2 * kTileOutputs;

int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

/// Where a block's sums come from and go to; rows of `stride` floats.
struct Sums {
  const float* from;  // nullptr: they begin at 0
  int64_t from_stride;
  float* to;
  int64_t to_stride;
  bool streams;  // past the caches; whole lines
};

/// A block's operands over a cut: rows of one panel of a, one or two panels of b.
struct Operands {
  const uint16_t* a;
  const uint16_t* b;
  int64_t b_panel;  // values from one to the next
  int64_t tiles;
  const uint16_t* a_next;  // the next block's, asked for meanwhile
};

__m512bh PairOf(const uint16_t* a) {
  int32_t pair;
  __builtin_memcpy(&pair, a, sizeof pair);
  return reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
}

/// R rows of one panel of a against P panels of b.
template <int R, int P>
void Run(const Operands& o, const Sums& sums, Ahead& ahead) {
  __m512 sum[R][P];
  for (int r = 0; r < R; ++r) {
    for (int p = 0; p < P; ++p) {
      sum[r][p] = sums.from == nullptr
                      ? _mm512_setzero_ps()
                      : _mm512_loadu_ps(sums.from + r * sums.from_stride + p * kSide);
    }
  }
  const uint16_t *a = o.a, *b = o.b;
  for (int64_t t = 0; t < o.tiles; ++t, a += kTileValues, b += kTileValues) {
    ahead.Next();
    const uint16_t* next = o.a_next + t * kTileValues;
    for (int r = 0; r < R; ++r) _mm_prefetch(next + r * kTileDepth, _MM_HINT_T0);
#pragma GCC unroll 2
    for (int64_t k = 0; k < kPairs; ++k) {
      __m512bh line[P];
      for (int p = 0; p < P; ++p)
        line[p] =
            reinterpret_cast<__m512bh>(_mm512_load_si512(b + p * o.b_panel + k * kPairValues));
      for (int r = 0; r < R; ++r) {
        const __m512bh pair = PairOf(a + r * kTileDepth + 2 * k);
        for (int p = 0; p < P; ++p) sum[r][p] = _mm512_dpbf16_ps(sum[r][p], pair, line[p]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int p = 0; p < P; ++p) {
      float* to = sums.to + r * sums.to_stride + p * kSide;
      sums.streams ? _mm512_stream_ps(to, sum[r][p]) : _mm512_storeu_ps(to, sum[r][p]);
    }
  }
}

/// What of a block lies in c.
struct Extent {
  int64_t rows, cols;
};
__mmask16 Mask(int64_t cols) {
  return static_cast<__mmask16>(cols >= kSide ? 0xffff : cols <= 0 ? 0 : (1u << cols) - 1);
}
void Read(const float* c, int64_t stride, const Extent& e, float* block) {
  const __mmask16 low = Mask(e.cols), high = Mask(e.cols - kSide);
  for (int64_t r = 0; r < e.rows; ++r, c += stride, block += kBlockCols) {
    _mm512_store_ps(block, _mm512_maskz_loadu_ps(low, c));
    _mm512_store_ps(block + kSide, _mm512_maskz_loadu_ps(high, c + kSide));
  }
}
void Write(const float* block, const Extent& e, float* c, int64_t stride) {
  const __mmask16 low = Mask(e.cols), high = Mask(e.cols - kSide);
  for (int64_t r = 0; r < e.rows; ++r, c += stride, block += kBlockCols) {
    _mm512_mask_storeu_ps(c, low, _mm512_load_ps(block));
    _mm512_mask_storeu_ps(c + kSide, high, _mm512_load_ps(block + kSide));
  }
}

class Product {
 public:
  explicit Product(const TileProductArgs& args)
      : args_(args),
        a_panel_(args.a_panel_tiles * kTileValues),
        b_panel_(args.b_panel_tiles * kTileValues),
        lines_(args.streams && args.c_stride % kSide == 0 &&
               reinterpret_cast<uintptr_t>(args.c) % 64 == 0) {}

  /// Rows [row, row + rows) of c.
  void Multiply(int64_t row, int64_t rows) {
    for (int64_t col = 0; col < args_.cols; col += kBlockCols) {
      for (int64_t first = 0; first < args_.depth_tiles;) {
        const Cut cut{row, rows, col, first, CutTiles(first)};
        args_.cols - col > kSide ? MultiplyCut<8, 2>(cut) : MultiplyCut<16, 1>(cut);
        first += cut.tiles;
      }
    }
  }

 private:
  /// Panels of b against all rows, over tiles [first, first + tiles) of the depth.
  struct Cut {
    int64_t row, rows, col, first, tiles;
  };
  /// Not across the end of b.
  int64_t CutTiles(int64_t first) const {
    const bool ends = args_.b_more != nullptr && first < args_.b_tiles;
    return Least(kDepthTiles, (ends ? args_.b_tiles : args_.depth_tiles) - first);
  }
  const uint16_t* RowsOfA(int64_t row, int64_t first) const {
    return args_.a + row / kSide * a_panel_ + first * kTileValues + row % kSide * kTileDepth;
  }
  const uint16_t* PanelsOfB(int64_t col, int64_t first) const {
    const bool more = args_.b_more != nullptr && first >= args_.b_tiles;
    return (more ? args_.b_more : args_.b) + col / kSide * b_panel_ +
           (more ? first - args_.b_tiles : first) * kTileValues;
  }
  const uint16_t* NextPanelsOfB(const Cut& cut) const {
    const int64_t end = cut.first + cut.tiles;
    if (end < args_.depth_tiles) return PanelsOfB(cut.col, end);
    return cut.col + kBlockCols < args_.cols ? PanelsOfB(cut.col + kBlockCols, 0) : nullptr;
  }

  template <int R, int P>
  void MultiplyCut(const Cut& cut) {
    const int64_t blocks = (cut.rows + R - 1) / R;
    Ahead ahead(NextPanelsOfB(cut), b_panel_, cut.tiles, blocks * cut.tiles);
    const uint16_t* b = PanelsOfB(cut.col, cut.first);
    for (int64_t r = 0; r < cut.rows; r += R) {
      const int64_t next = r + R < cut.rows ? r + R : 0;
      const Operands operands{RowsOfA(cut.row + r, cut.first), b, b_panel_, cut.tiles,
                              RowsOfA(cut.row + next, cut.first)};
      MultiplyBlock<R, P>(cut, r, operands, ahead);
    }
  }

  template <int R, int P>
  void MultiplyBlock(const Cut& cut, int64_t r, const Operands& operands, Ahead& ahead) {
    const int64_t row = cut.row + r;
    const Extent extent{Least(cut.rows - r, R), Least(args_.cols - cut.col, kBlockCols)};
    const bool whole = extent.rows == R && extent.cols == P * kSide;
    const bool begins = cut.first == 0, ends = cut.first + cut.tiles == args_.depth_tiles;
    float* c = args_.c + row * args_.c_stride + cut.col;
    float* own = sums_ + r * kBlockCols;
    Sums sums{own, kBlockCols, own, kBlockCols, false};
    if (begins && args_.from == nullptr) {
      sums.from = nullptr;
    } else if (begins) {
      const float* from = args_.from + row * args_.from_stride + cut.col;
      if (whole) {
        sums.from = from;
        sums.from_stride = args_.from_stride;
      } else {
        Read(from, args_.from_stride, extent, own);
      }
    }
    if (ends && whole) {
      sums.to = c;
      sums.to_stride = args_.c_stride;
      sums.streams = lines_;
    }
    Run<R, P>(operands, sums, ahead);
    if (ends && !whole) Write(own, extent, c, args_.c_stride);
  }

  const TileProductArgs& args_;
  const int64_t a_panel_, b_panel_;
  const bool lines_;  // c is whole lines that go past the caches
  alignas(64) float sums_[kRows * kBlockCols];
};

void TileProduct(const TileProductArgs& args) {
  Product product(args);
  for (int64_t row = 0; row < args.rows; row += kRows)
    product.Multiply(row, Least(kRows, args.rows - row));
  if (args.streams) _mm_sfence();
}

}  // namespace

OCTET_KERNELS(x86_avx512_bf16_tile_product) = {
    {.name = "x86_avx512_bf16/tile_product",
     .op = KernelOp::kTileProduct,
     .isa = kIsaAvx512 | kIsaAvx512Bf16,
     .speed = 35,
     .tile_product = TileProduct,
     .tile_sums = TileSums::kPairs},
    {},
};

}  // namespace octet
