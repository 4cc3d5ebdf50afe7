// The oracle of bf16 tile products: packing and the instructions' orders of sums, spelled out.
#include <cmath>
#include <limits>

#include "kernels/kernel.h"
#include "kernels/reference/bf16.h"

namespace octet {
namespace {

float Flush(float x) {
  return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x;
}

void PackTiles(const PackTilesArgs& args) {
  const int64_t outputs = args.turned ? args.cols : args.rows;
  const int64_t depth = args.turned ? args.rows : args.cols;
  for (int64_t i = 0; i < (outputs + kTileOutputs - 1) / kTileOutputs * kTileOutputs; ++i) {
    for (int64_t k = 0; k < (depth + kTileDepth - 1) / kTileDepth * kTileDepth; ++k) {
      const int64_t r = args.turned ? k : i, c = args.turned ? i : k;
      uint16_t x = 0;
      if (r < args.rows && c < args.cols) {
        const int64_t at = (args.row_of == nullptr ? r : args.row_of[r]) * args.x_stride + c;
        x = args.rounded == nullptr ? ToBf16(args.x[at]) : args.rounded[at];
      }
      const int64_t tile = i / kTileOutputs * args.panel_tiles + k / kTileDepth;
      args.out[tile * kTileValues + PlaceInTile(i % kTileOutputs, k % kTileDepth, args.pairs)] = x;
    }
  }
}

/// 32 terms more. `b` is in pairs, `j` one of its outputs.
float AddAsTile(float sum, const uint16_t* a, int64_t i, const uint16_t* b, int64_t j) {
  float halves[2] = {0, 0};
  for (int64_t k = 0; k < kTileDepth; ++k) {
    const float x = Widened(a[PlaceInTile(i, k, false)]), y = Widened(b[PlaceInTile(j, k, true)]);
    halves[k % 2] = Flush(std::fma(x, y, halves[k % 2]));
  }
  return Flush(sum + Flush(halves[0] + halves[1]));
}
float AddAsPairs(float sum, const uint16_t* a, int64_t i, const uint16_t* b, int64_t j) {
  for (int64_t pair = 0; pair < kTileDepth; pair += 2) {
    for (const int64_t k : {pair + 1, pair}) {
      const float x = Widened(a[PlaceInTile(i, k, false)]), y = Widened(b[PlaceInTile(j, k, true)]);
      sum = Flush(std::fma(x, y, Flush(sum)));
    }
  }
  return sum;
}

template <float (*kAdd)(float, const uint16_t*, int64_t, const uint16_t*, int64_t)>
void TileProduct(const TileProductArgs& args) {
  for (int64_t i = 0; i < args.rows; ++i) {
    const uint16_t* a = args.a + i / kTileOutputs * args.a_panel_tiles * kTileValues;
    for (int64_t j = 0; j < args.cols; ++j) {
      const int64_t b_panel = j / kTileOutputs * args.b_panel_tiles;
      float& c = args.c[i * args.c_stride + j];
      float sum = args.from == nullptr ? 0.0f : args.from[i * args.from_stride + j];
      for (int64_t t = 0; t < args.depth_tiles; ++t) {
        const bool more = args.b_more != nullptr && t >= args.b_tiles;
        const uint16_t* b =
            (more ? args.b_more : args.b) + (b_panel + (more ? t - args.b_tiles : t)) * kTileValues;
        sum = kAdd(sum, a + t * kTileValues, i % kTileOutputs, b, j % kTileOutputs);
      }
      c = sum;
    }
  }
}

void RoundRows(const RoundRowsArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t c = 0; c < args.cols; ++c)
      args.out[r * args.out_stride + c] = ToBf16(args.x[r * args.x_stride + c]);
  }
}

}  // namespace

OCTET_KERNELS(reference_tiles) = {
    {.name = "reference/pack_tiles", .op = KernelOp::kPackTiles, .pack_tiles = PackTiles},
    {.name = "reference/round_rows", .op = KernelOp::kRoundRows, .round_rows = RoundRows},
    {.name = "reference/tile_product",
     .op = KernelOp::kTileProduct,
     .tile_product = TileProduct<AddAsTile>},
    {.name = "reference/tile_product.pairs",
     .op = KernelOp::kTileProduct,
     .tile_product = TileProduct<AddAsPairs>,
     .tile_sums = TileSums::kPairs},
    {},
};

}  // namespace octet
