// The oracle of training's softmax of scores and its gradient.
#include <algorithm>
#include <cmath>

#include "kernels/kernel.h"
#include "kernels/reference/bf16.h"
#include "kernels/reference/exp.h"

namespace octet {
namespace {

constexpr float kLowest = -3.402823466e+38f;
constexpr int64_t kBlockTiles = kScoreSide / kTileDepth;

int64_t Whole(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

bool Sees(const ScoreBlock& b, int64_t i, int64_t j) {
  if (i >= b.queries || j >= b.keys) return false;
  const int64_t query = b.first_query + i, key = b.first_key + j;
  return key <= query && (b.window == 0 || key > query - b.window);
}

void ScoreSoftmax(const ScoreSoftmaxArgs& args) {
  const ScoreBlock& b = args.block;
  for (int64_t i = 0; i < Whole(b.queries, kTileOutputs); ++i) {
    float m = kLowest, sum = 0;
    for (int64_t j = 0; j < b.keys; ++j) {
      if (Sees(b, i, j)) m = std::max(m, args.s[j * args.stride + i]);
    }
    for (int64_t j = 0; j < Whole(b.keys, kTileDepth); ++j) {
      const float p = Sees(b, i, j) ? Exp2((args.s[j * args.stride + i] - m) * kExpLog2E) : 0.0f;
      sum += p;
      const int64_t tile = i / kTileOutputs * args.panel_tiles + j / kTileDepth;
      args.pairs[tile * kTileValues + PlaceInTile(i % kTileOutputs, j % kTileDepth, true)] =
          ToBf16(p);
    }
    if (i >= b.queries) continue;
    args.m[i] = m;
    args.sum[i] = sum;
  }
}

void ScoreGrad(const ScoreGradArgs& args) {
  const ScoreBlock& b = args.block;
  for (int64_t j = 0; j < Whole(b.keys, kTileDepth); ++j) {
    for (int64_t i = 0; i < Whole(b.queries, kTileDepth); ++i) {
      float p = 0, d_s = 0;
      if (Sees(b, i, j)) {
        const int64_t at = j * args.stride + i;
        p = Exp2((args.s[at] - args.log_sum[i]) * kExpLog2E);
        d_s = p * (args.d_p[at] - args.delta[i]);
      }
      const int64_t by_key = (j / kTileOutputs * kBlockTiles + i / kTileDepth) * kTileValues +
                             PlaceInTile(j % kTileOutputs, i % kTileDepth, false);
      args.p[by_key] = ToBf16(p);
      args.d_s[by_key] = ToBf16(d_s);
      args.d_s_pairs[(i / kTileOutputs * kBlockTiles + j / kTileDepth) * kTileValues +
                     PlaceInTile(i % kTileOutputs, j % kTileDepth, true)] = ToBf16(d_s);
    }
  }
}

void Turn(const TurnArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t c = 0; c < args.cols; ++c)
      args.out[c * args.out_stride + r] = args.in[r * args.in_stride + c] * args.scale[c];
  }
}

}  // namespace

OCTET_KERNELS(reference_scores) = {
    {.name = "reference/score_softmax",
     .op = KernelOp::kScoreSoftmax,
     .score_softmax = ScoreSoftmax},
    {.name = "reference/score_grad", .op = KernelOp::kScoreGrad, .score_grad = ScoreGrad},
    {.name = "reference/turn", .op = KernelOp::kTurn, .turn = Turn},
    {},
};

}  // namespace octet
