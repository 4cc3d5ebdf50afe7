// The oracle of SwiGLU between tile products, forward and backward.
#include <cmath>

#include "kernels/kernel.h"
#include "kernels/reference/bf16.h"
#include "kernels/reference/exp.h"

namespace octet {
namespace {

int64_t Whole(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

float Sigmoid(float g) { return 1.0f / (1.0f + Exp2(g * -kExpLog2E)); }

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

struct Grads {
  float hidden, d_gate, d_up;
};

/// Of one value; adds to its lane of d_weight.
Grads GradsOf(const SwiGluGradTilesArgs& args, int64_t r, int64_t c, float* lanes) {
  const float g = Widened(args.kept_gate[r * args.kept_stride + c]);
  const float u = Widened(args.kept_up[r * args.kept_stride + c]);
  const float unweighted = args.d_hidden[r * args.stride + c], t = Sigmoid(g);
  const float hidden = g * t * u, d = args.weight[r] * unweighted;
  lanes[c % 16] = std::fma(hidden, unweighted, lanes[c % 16]);
  return {hidden * args.weight[r], d * u * t * std::fma(g, 1.0f - t, 1.0f), d * (g * t)};
}

void SwiGluGradTiles(const SwiGluGradTilesArgs& args) {
  for (int64_t r = 0; r < Whole(args.rows, kTileDepth); ++r) {
    float lanes[16] = {};
    for (int64_t c = 0; c < Whole(args.cols, kTileDepth); ++c) {
      Grads x = {};
      if (r < args.rows && c < args.cols) x = GradsOf(args, r, c, lanes);
      const int64_t by_row = (r / kTileOutputs * args.panel_tiles + c / kTileDepth) * kTileValues +
                             PlaceInTile(r % kTileOutputs, c % kTileDepth, false);
      args.d_gate[by_row] = ToBf16(x.d_gate);
      args.d_up[by_row] = ToBf16(x.d_up);
      const int64_t tile =
          (c / kTileOutputs * args.turned_panel_tiles + r / kTileDepth) * kTileValues;
      const int64_t place = PlaceInTile(c % kTileOutputs, r % kTileDepth, false);
      args.d_gate_turned[tile + place] = ToBf16(x.d_gate);
      args.d_up_turned[tile + place] = ToBf16(x.d_up);
      args.hidden_turned[tile + PlaceInTile(c % kTileOutputs, r % kTileDepth, true)] =
          ToBf16(x.hidden);
    }
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    if (r < args.rows) args.d_weight[r] = lanes[0];
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
