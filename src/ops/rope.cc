#include "ops/rope.h"

#include <cmath>

#include "ops/rows.h"

namespace octet {

RopeTable MakeRopeTable(std::span<const int32_t> positions, int64_t head_dim, double theta,
                        double scale, Context& context) {
  const auto rows = static_cast<int64_t>(positions.size());
  const int64_t half = head_dim / 2;
  auto frequency = context.scratch.Vector<double>(half);
  for (int64_t i = 0; i < half; ++i) {
    frequency[i] =
        scale * std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
  }
  auto cos = context.scratch.Matrix<float>(rows, half);
  auto sin = context.scratch.Matrix<float>(rows, half);
  constexpr int64_t kSincosCost = 64;  // in floats of plain work
  ForEachRow(rows, half * kSincosCost, context, [&](int64_t t) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(positions[t]) * frequency[i];
      cos[t][i] = static_cast<float>(std::cos(angle));
      sin[t][i] = static_cast<float>(std::sin(angle));
    }
  });
  return {cos, sin};
}

void Rope(View<float, 2> x, const RopeTable& table, RopePairing pairing, Context& context) {
  const int64_t half = table.cos.shape[1];
  const int64_t head_dim = 2 * half;
  const int64_t heads = x.shape[1] / head_dim;
  const PartScope part(context.profile, StepPart::kRope);
  ForEachRow(x.shape[0], x.shape[1], context, [&](int64_t t) {
    context.kernels.rope->rope({x[t].data, table.cos[t].data, table.sin[t].data, heads, half,
                                pairing == RopePairing::kInterleaved});
  });
}

}  // namespace octet
