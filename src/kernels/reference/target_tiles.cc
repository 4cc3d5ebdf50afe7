// The oracle of the head's softmax between tile products.
#include <algorithm>

#include "kernels/kernel.h"
#include "kernels/reference/bf16.h"
#include "kernels/reference/exp.h"

namespace octet {
namespace {

int64_t Whole(int64_t n) { return (n + kTileDepth - 1) / kTileDepth * kTileDepth; }

void LogSum(const LogSumArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    const float* z = args.z + r * args.stride;
    const float m = std::max(args.m[r], *std::max_element(z, z + args.n));
    float lanes[16] = {};
    for (int64_t i = 0; i < args.n; ++i) lanes[i % 16] += ExpNegative(z[i] - m);
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    args.sum[r] = args.sum[r] * ExpNegative(args.m[r] - m) + lanes[0];
    args.m[r] = m;
  }
}

void TargetTiles(const TargetTilesArgs& args) {
  for (int64_t r = 0; r < Whole(args.rows); ++r) {
    for (int64_t c = 0; c < Whole(args.n); ++c) {
      float d_z = 0;
      if (r < args.rows && c < args.n) {
        const float p = ExpNegative(args.z[r * args.stride + c] - args.log_sum[r]);
        d_z = args.d_log_prob[r] * ((c == args.target[r] ? 1.0f : 0.0f) - p);
      }
      const int64_t tile = r / kTileOutputs * args.panel_tiles + c / kTileDepth;
      args.tiles[tile * kTileValues + PlaceInTile(r % kTileOutputs, c % kTileDepth, false)] =
          ToBf16(d_z);
      if (args.turned == nullptr) continue;
      const int64_t turned = c / kTileOutputs * args.turned_panel_tiles + r / kTileDepth;
      args.turned[turned * kTileValues + PlaceInTile(c % kTileOutputs, r % kTileDepth, false)] =
          ToBf16(d_z);
    }
  }
}

}  // namespace

OCTET_KERNELS(reference_target_tiles) = {
    {.name = "reference/log_sum", .op = KernelOp::kLogSum, .log_sum = LogSum},
    {.name = "reference/target_tiles", .op = KernelOp::kTargetTiles, .target_tiles = TargetTiles},
    {},
};

}  // namespace octet
