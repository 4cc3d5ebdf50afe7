// Products of packed bf16 operands: blocks of 2 × 2 tiles, so that each tile that is loaded is used
// twice. Two panels of b stay in the first-level cache while the panels of a stream past it, loaded
// so that they do not enter it (two of both would not fit: 4.3 TFLOP/s on two cores instead of 5.3
// of 7.2); a long depth is cut, with sums in c (which is exact).
#include "kernels/x86_amx_int8/tiles.h"

namespace octet {
namespace {

constexpr int64_t kDepthTiles = 16;  // of a pass: two panels are 32 KiB
constexpr int64_t kSide = kTileOutputs;

int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

/// Where a tile of sums lies: in c, or beside it when c ends within the tile.
struct Target {
  float* data;
  int64_t stride_bytes;
};

/// A block of up to 2 × 2 tiles of c, with room for those that c cuts.
class Block {
 public:
  Block(const TileProductArgs& args, int64_t row, int64_t col)
      : args_(args), row_(row), col_(col) {}

  /// With the sums so far.
  Target Begin(int m, int n) {
    const int64_t rows = Rows(m), cols = Cols(n);
    for (int64_t r = 0; IsCut(m, n) && r < rows; ++r)
      _mm512_store_ps(own_[m][n][r], _mm512_maskz_loadu_ps(Mask(cols), Line(m, n, r)));
    return Place(m, n);
  }
  Target Place(int m, int n) {
    if (IsCut(m, n)) return {own_[m][n][0], kSide * 4};
    return {Line(m, n, 0), args_.c_stride * 4};
  }
  /// After the tile was stored at its place.
  void Finish(int m, int n) {
    const int64_t rows = Rows(m), cols = Cols(n);
    for (int64_t r = 0; IsCut(m, n) && r < rows; ++r)
      _mm512_mask_storeu_ps(Line(m, n, r), Mask(cols), _mm512_load_ps(own_[m][n][r]));
  }

 private:
  int64_t Rows(int m) const { return Least(args_.rows - row_ - m * kSide, kSide); }
  int64_t Cols(int n) const { return Least(args_.cols - col_ - n * kSide, kSide); }
  bool IsCut(int m, int n) const { return Rows(m) < kSide || Cols(n) < kSide; }
  float* Line(int m, int n, int64_t r) const {
    return args_.c + (row_ + m * kSide + r) * args_.c_stride + col_ + n * kSide;
  }
  static __mmask16 Mask(int64_t cols) { return static_cast<__mmask16>((1u << cols) - 1); }

  const TileProductArgs& args_;
  int64_t row_, col_;
  alignas(64) float own_[2][2][kSide][kSide];
};

struct Panels {
  const uint16_t *a0, *a1, *b0, *b1;
  int64_t tiles;
};

#define OCTET_BEGIN_SUM(tile, m, n)                          \
  if (fresh) {                                               \
    OCTET_TILE_ZERO(tile);                                   \
  } else {                                                   \
    const Target target = block.Begin(m, n);                 \
    OCTET_TILE_LOAD(tile, target.data, target.stride_bytes); \
  }
#define OCTET_END_SUM(tile, m, n)                             \
  {                                                           \
    const Target target = block.Place(m, n);                  \
    OCTET_TILE_STORE(tile, target.data, target.stride_bytes); \
    block.Finish(m, n);                                       \
  }

/// Sums of tile (m, n) are tile 2m + n.
template <int kRows, int kCols>
void Run(const Panels& p, Block& block, bool fresh) {
  OCTET_BEGIN_SUM(0, 0, 0)
  if constexpr (kCols > 1) {
    OCTET_BEGIN_SUM(1, 0, 1)
  }
  if constexpr (kRows > 1) {
    OCTET_BEGIN_SUM(2, 1, 0)
  }
  if constexpr (kRows > 1 && kCols > 1) {
    OCTET_BEGIN_SUM(3, 1, 1)
  }
  for (int64_t t = 0; t < p.tiles; ++t) {
    OCTET_TILE_LOAD(6, p.b0 + t * kTileValues, 64);
    OCTET_TILE_LOAD_PAST_L1(4, p.a0 + t * kTileValues, 64);
    OCTET_TILE_DOT_BF16(0, 4, 6);
    if constexpr (kCols > 1) {
      OCTET_TILE_LOAD(7, p.b1 + t * kTileValues, 64);
      OCTET_TILE_DOT_BF16(1, 4, 7);
    }
    if constexpr (kRows > 1) {
      OCTET_TILE_LOAD_PAST_L1(5, p.a1 + t * kTileValues, 64);
      OCTET_TILE_DOT_BF16(2, 5, 6);
    }
    if constexpr (kRows > 1 && kCols > 1) OCTET_TILE_DOT_BF16(3, 5, 7);
  }
  OCTET_END_SUM(0, 0, 0)
  if constexpr (kCols > 1) OCTET_END_SUM(1, 0, 1)
  if constexpr (kRows > 1) OCTET_END_SUM(2, 1, 0)
  if constexpr (kRows > 1 && kCols > 1) OCTET_END_SUM(3, 1, 1)
}

/// All of c over tiles [first, first + tiles) of the depth.
void Pass(const TileProductArgs& args, int64_t first, int64_t tiles) {
  const bool fresh = first == 0 && !args.add;
  const int64_t a_panel = args.a_panel_tiles * kTileValues;
  const int64_t b_panel = args.b_panel_tiles * kTileValues;
  for (int64_t col = 0; col < args.cols; col += 2 * kSide) {
    const uint16_t* b = args.b + col / kSide * b_panel + first * kTileValues;
    const bool two_cols = args.cols - col > kSide;
    for (int64_t row = 0; row < args.rows; row += 2 * kSide) {
      const uint16_t* a = args.a + row / kSide * a_panel + first * kTileValues;
      const bool two_rows = args.rows - row > kSide;
      const Panels panels{a, a + a_panel, b, b + b_panel, tiles};
      Block block(args, row, col);
      if (two_rows) {
        two_cols ? Run<2, 2>(panels, block, fresh) : Run<2, 1>(panels, block, fresh);
      } else {
        two_cols ? Run<1, 2>(panels, block, fresh) : Run<1, 1>(panels, block, fresh);
      }
    }
  }
}

void TileProduct(const TileProductArgs& args) {
  ConfigureTiles(64);
  for (int64_t first = 0; first < args.depth_tiles; first += kDepthTiles)
    Pass(args, first, Least(kDepthTiles, args.depth_tiles - first));
  ReleaseTiles();
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
