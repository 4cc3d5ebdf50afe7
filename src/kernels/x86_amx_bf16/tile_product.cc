// Products of packed bf16 operands: blocks of 2 × 2 tiles, so that each tile that is loaded is used
// twice. Two panels of b stay in the first-level cache while the panels of a stream past it, loaded
// so that they do not enter it (two of both would not fit: 4.4 TFLOP/s on two cores instead of 5.7
// of 7.3). Meanwhile the panels of b to come are fetched into the second level, and the sums of the
// block before leave for memory a few lines at a time: at once they would stop everything. A long
// depth is cut, with sums beside c until the last cut (which is exact).
#include "kernels/x86_amx_int8/tiles.h"
#include "kernels/x86_avx512_bf16/panels_ahead.h"

namespace octet {
namespace {

constexpr int64_t kDepthTiles = 16;  // of a cut: two panels are 32 KiB
constexpr int64_t kRows = 256;       // of c at once, whose part of a stays in the second level
constexpr int64_t kSide = kTileOutputs, kBlock = 2 * kSide;

int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

/// A block of finished sums on its way to memory past the caches.
class Leaving {
 public:
  void Begin(const float* block, float* c, int64_t stride) {
    block_ = block;
    c_ = c;
    stride_ = stride;
    rows_ = kBlock;
  }
  void Next(int64_t rows) {
    for (int64_t end = rows_ > rows ? rows_ - rows : 0; rows_ > end; --rows_) {
      _mm512_stream_ps(c_, _mm512_load_ps(block_));
      _mm512_stream_ps(c_ + kSide, _mm512_load_ps(block_ + kSide));
      c_ += stride_;
      block_ += kBlock;
    }
  }
  void Finish() { Next(kBlock); }

 private:
  const float* block_ = nullptr;
  float* c_ = nullptr;
  int64_t stride_ = 0, rows_ = 0;  // that are left
};

/// Where a block's sums come from and go to; rows of `stride` floats.
struct Sums {
  const float* from;  // nullptr: they begin at 0
  int64_t from_stride;
  float* to;
  int64_t to_stride;
};

/// Panels of a block over a cut.
struct Panels {
  const uint16_t *a0, *a1, *b0, *b1;
  int64_t tiles;
};

/// What goes on beside a block's products, a little with every tile of the depth.
struct Beside {
  Ahead ahead;
  Leaving& leaving;
  int64_t leaving_rows;  // a tile

  void Next() {
    ahead.Next();
    leaving.Next(leaving_rows);
  }
};

#define OCTET_BEGIN_SUM(tile, m, n)                                                          \
  if (sums.from == nullptr) {                                                                \
    OCTET_TILE_ZERO(tile);                                                                   \
  } else {                                                                                   \
    OCTET_TILE_LOAD(tile, sums.from + (m)*kSide * sums.from_stride + (n)*kSide, from_bytes); \
  }
#define OCTET_END_SUM(tile, m, n) \
  OCTET_TILE_STORE(tile, sums.to + (m)*kSide * sums.to_stride + (n)*kSide, to_bytes)

/// Sums of tile (m, n) are tile 2m + n.
template <int kTileRows, int kTileCols>
void Run(const Panels& p, const Sums& sums, Beside& beside) {
  const int64_t from_bytes = sums.from_stride * 4, to_bytes = sums.to_stride * 4;
  OCTET_BEGIN_SUM(0, 0, 0)
  if constexpr (kTileCols > 1) {
    OCTET_BEGIN_SUM(1, 0, 1)
  }
  if constexpr (kTileRows > 1) {
    OCTET_BEGIN_SUM(2, 1, 0)
  }
  if constexpr (kTileRows > 1 && kTileCols > 1) {
    OCTET_BEGIN_SUM(3, 1, 1)
  }
  for (int64_t t = 0; t < p.tiles; ++t) {
    OCTET_TILE_LOAD(6, p.b0 + t * kTileValues, 64);
    OCTET_TILE_LOAD_PAST_L1(4, p.a0 + t * kTileValues, 64);
    OCTET_TILE_DOT_BF16(0, 4, 6);
    if constexpr (kTileCols > 1) {
      OCTET_TILE_LOAD(7, p.b1 + t * kTileValues, 64);
      OCTET_TILE_DOT_BF16(1, 4, 7);
    }
    if constexpr (kTileRows > 1) {
      OCTET_TILE_LOAD_PAST_L1(5, p.a1 + t * kTileValues, 64);
      OCTET_TILE_DOT_BF16(2, 5, 6);
    }
    beside.Next();
    if constexpr (kTileRows > 1 && kTileCols > 1) OCTET_TILE_DOT_BF16(3, 5, 7);
  }
  OCTET_END_SUM(0, 0, 0);
  if constexpr (kTileCols > 1) OCTET_END_SUM(1, 0, 1);
  if constexpr (kTileRows > 1) OCTET_END_SUM(2, 1, 0);
  if constexpr (kTileRows > 1 && kTileCols > 1) OCTET_END_SUM(3, 1, 1);
}

/// A block of c and what stands for it: sums between cuts, and where c ends within it.
struct Place {
  float* c;
  int64_t stride, rows, cols;

  bool IsWhole() const { return rows == kBlock && cols == kBlock; }
  bool IsAligned() const { return reinterpret_cast<uintptr_t>(c) % 64 == 0 && stride % kSide == 0; }
};
__mmask16 Mask(int64_t cols) {
  return static_cast<__mmask16>(cols >= kSide ? 0xffff : cols <= 0 ? 0 : (1u << cols) - 1);
}
void Read(const float* c, int64_t stride, const Place& p, float* block) {
  const __mmask16 low = Mask(p.cols), high = Mask(p.cols - kSide);
  for (int64_t r = 0; r < p.rows; ++r) {
    const float* line = c + r * stride;
    _mm512_store_ps(block + r * kBlock, _mm512_maskz_loadu_ps(low, line));
    _mm512_store_ps(block + r * kBlock + kSide, _mm512_maskz_loadu_ps(high, line + kSide));
  }
}
void Write(const Place& p, const float* block) {
  const __mmask16 low = Mask(p.cols), high = Mask(p.cols - kSide);
  for (int64_t r = 0; r < p.rows; ++r) {
    float* line = p.c + r * p.stride;
    _mm512_mask_storeu_ps(line, low, _mm512_load_ps(block + r * kBlock));
    _mm512_mask_storeu_ps(line + kSide, high, _mm512_load_ps(block + r * kBlock + kSide));
  }
}

class Product {
 public:
  explicit Product(const TileProductArgs& args)
      : args_(args),
        a_panel_(args.a_panel_tiles * kTileValues),
        b_panel_(args.b_panel_tiles * kTileValues) {}

  /// Rows [row, row + rows) of c.
  void Multiply(int64_t row, int64_t rows) {
    for (int64_t col = 0; col < args_.cols; col += kBlock) {
      for (int64_t first = 0; first < args_.depth_tiles;) {
        const Cut cut{row, rows, col, first, CutTiles(first)};
        MultiplyCut(cut);
        first += cut.tiles;
      }
    }
    leaving_.Finish();
  }

 private:
  /// Two panels of b against all rows, over tiles [first, first + tiles) of the depth.
  struct Cut {
    int64_t row, rows, col, first, tiles;
  };
  /// Not across the end of b.
  int64_t CutTiles(int64_t first) const {
    const bool ends = args_.b_more != nullptr && first < args_.b_tiles;
    return Least(kDepthTiles, (ends ? args_.b_tiles : args_.depth_tiles) - first);
  }
  const uint16_t* PanelsOfB(int64_t col, int64_t first) const {
    const bool more = args_.b_more != nullptr && first >= args_.b_tiles;
    return (more ? args_.b_more : args_.b) + col / kSide * b_panel_ +
           (more ? first - args_.b_tiles : first) * kTileValues;
  }
  const uint16_t* NextPanelsOfB(const Cut& cut) const {
    const int64_t end = cut.first + cut.tiles;
    if (end < args_.depth_tiles) return PanelsOfB(cut.col, end);
    return cut.col + kBlock < args_.cols ? PanelsOfB(cut.col + kBlock, 0) : nullptr;
  }

  void MultiplyCut(const Cut& cut) {
    const uint16_t* a = args_.a + cut.row / kSide * a_panel_ + cut.first * kTileValues;
    const uint16_t* b = PanelsOfB(cut.col, cut.first);
    const int64_t blocks = (cut.rows + kBlock - 1) / kBlock;
    Beside beside{{NextPanelsOfB(cut), b_panel_, cut.tiles, blocks * cut.tiles},
                  leaving_,
                  (kBlock + cut.tiles - 1) / cut.tiles};
    for (int64_t i = 0; i < blocks; ++i, a += 2 * a_panel_) {
      const Panels panels{a, a + a_panel_, b, b + b_panel_, cut.tiles};
      MultiplyBlock(cut, i, panels, beside);
    }
  }

  void MultiplyBlock(const Cut& cut, int64_t block, const Panels& panels, Beside& beside) {
    const int64_t row = cut.row + block * kBlock;
    const int64_t rows = Least(cut.rows - block * kBlock, kBlock);
    const int64_t cols = Least(args_.cols - cut.col, kBlock);
    const Place c{args_.c + row * args_.c_stride + cut.col, args_.c_stride, rows, cols};
    const bool begins = cut.first == 0, ends = cut.first + cut.tiles == args_.depth_tiles;
    const bool direct = c.IsWhole() && !args_.streams;
    const bool leaves = ends && c.IsWhole() && args_.streams && c.IsAligned();
    float* own = sums_[block];
    Sums sums{own, kBlock, own, kBlock};
    if (begins) BeginAt(row, cut.col, c, own, sums);
    if (ends && direct) {
      sums.to = c.c;
      sums.to_stride = c.stride;
    }
    if (leaves) sums.to = finished_[turn_];
    if (rows > kSide) {
      cols > kSide ? Run<2, 2>(panels, sums, beside) : Run<2, 1>(panels, sums, beside);
    } else {
      cols > kSide ? Run<1, 2>(panels, sums, beside) : Run<1, 1>(panels, sums, beside);
    }
    if (leaves) {
      leaving_.Finish();
      leaving_.Begin(finished_[turn_], c.c, c.stride);
      turn_ = 1 - turn_;
    } else if (ends && !direct) {
      Write(c, own);
    }
  }
  void BeginAt(int64_t row, int64_t col, const Place& c, float* own, Sums& sums) const {
    if (args_.from == nullptr) {
      sums.from = nullptr;
      return;
    }
    const float* at = args_.from + row * args_.from_stride + col;
    if (!c.IsWhole()) return Read(at, args_.from_stride, c, own);
    sums.from = at;
    sums.from_stride = args_.from_stride;
  }

  const TileProductArgs& args_;
  const int64_t a_panel_, b_panel_;
  Leaving leaving_;
  int64_t turn_ = 0;
  alignas(64) float finished_[2][kBlock * kBlock];
  alignas(64) float sums_[kRows / kBlock][kBlock * kBlock];
};

void TileProduct(const TileProductArgs& args) {
  ConfigureTiles(64);
  Product product(args);
  for (int64_t row = 0; row < args.rows; row += kRows)
    product.Multiply(row, Least(kRows, args.rows - row));
  ReleaseTiles();
  if (args.streams) _mm_sfence();
}

}  // namespace

OCTET_KERNELS(x86_amx_bf16_tile_product) = {
    {.name = "x86_amx_bf16/tile_product",
     .op = KernelOp::kTileProduct,
     .isa = kIsaAvx512 | kIsaAvx512Vnni | kIsaAmxInt8 | kIsaAmxBf16,
     .speed = 40,
     .tile_product = TileProduct},
    {},
};

}  // namespace octet
