// The oracle of SwiGLU between tile products, forward and backward.
#include <cmath>

#include "kernels/kernel.h"
#include "kernels/reference/bf16.h"
#include "kernels/reference/exp.h"

namespace octet {
namespace {

int64_t Whole(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

float Sigmoid(float g) {
  const float e = ExpNegative(-std::fabs(g));
  return (g >= 0 ? 1.0f : e) / (1.0f + e);
}

void SwiGluTiles(const SwiGluTilesArgs& args) {
  for (int64_t r = 0; r < Whole(args.rows, kTileOutputs); ++r) {
    for (int64_t c = 0; c < Whole(args.cols, kTileDepth); ++c) {
      float hidden = 0;
      if (r < args.rows && c < args.cols) {
        const float g = args.gate[r * args.stride + c], u = args.up[r * args.stride + c];
        hidden = g * Sigmoid(g) * u;
        args.kept_gate[r * args.kept_stride + c] = ToBf16(g);
        args.kept_up[r * args.kept_stride + c] = ToBf16(u);
      }
      const int64_t tile = r / kTileOutputs * args.panel_tiles + c / kTileDepth;
      args.hidden[tile * kTileValues + PlaceInTile(r % kTileOutputs, c % kTileDepth, false)] =
          ToBf16(hidden);
    }
  }
}

void SwiGluGradTiles(const SwiGluGradTilesArgs& args) {
  for (int64_t r = 0; r < Whole(args.rows, kTileDepth); ++r) {
    for (int64_t c = 0; c < Whole(args.cols, kTileDepth); ++c) {
      float hidden = 0, d_gate = 0, d_up = 0;
      if (r < args.rows && c < args.cols) {
        const float g = Widened(args.kept_gate[r * args.kept_stride + c]);
        const float u = Widened(args.kept_up[r * args.kept_stride + c]);
        const float d = args.d_hidden[r * args.stride + c], t = Sigmoid(g);
        hidden = g * t * u;
        d_gate = d * u * t * std::fma(g, 1.0f - t, 1.0f);
        d_up = d * (g * t);
      }
      const int64_t by_row = (r / kTileOutputs * args.panel_tiles + c / kTileDepth) * kTileValues +
                             PlaceInTile(r % kTileOutputs, c % kTileDepth, false);
      args.d_gate[by_row] = ToBf16(d_gate);
      args.d_up[by_row] = ToBf16(d_up);
      const int64_t tile =
          (c / kTileOutputs * args.turned_panel_tiles + r / kTileDepth) * kTileValues;
      const int64_t place = PlaceInTile(c % kTileOutputs, r % kTileDepth, false);
      args.d_gate_turned[tile + place] = ToBf16(d_gate);
      args.d_up_turned[tile + place] = ToBf16(d_up);
      args.hidden_turned[tile + PlaceInTile(c % kTileOutputs, r % kTileDepth, true)] =
          ToBf16(hidden);
    }
  }
}

}  // namespace

OCTET_KERNELS(reference_swiglu_tiles) = {
    {.name = "reference/swiglu_tiles", .op = KernelOp::kSwiGluTiles, .swiglu_tiles = SwiGluTiles},
    {.name = "reference/swiglu_grad_tiles",
     .op = KernelOp::kSwiGluGradTiles,
     .swiglu_grad_tiles = SwiGluGradTiles},
    {},
};

}  // namespace octet
