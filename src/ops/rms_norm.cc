#include "ops/rms_norm.h"

#include <cmath>

#include "ops/rows.h"

namespace octet {
namespace {

/// Sum of squares in sixteen float lanes over k, added in double: the order is fixed and an
/// auto-vectoriser may use any width without changing it.
double SumOfSquares(const float* x, int64_t n) {
  constexpr int kLanes = 16;
  float lanes[kLanes] = {};
  int64_t k = 0;
  for (; k + kLanes <= n; k += kLanes) {
    for (int i = 0; i < kLanes; ++i) lanes[i] += x[k + i] * x[k + i];
  }
  for (int i = 0; k < n; ++k, ++i) lanes[i] += x[k] * x[k];
  double sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

}  // namespace

void RmsNorm(View<const float, 2> x, View<const float, 1> weight, double eps, View<float, 2> y,
             Context& context) {
  const int64_t d = x.shape[1];
  ForEachRow(x.shape[0], d, context, [&](int64_t t) {
    const float* in = x[t].data;
    float* out = y[t].data;
    const double mean = SumOfSquares(in, d) / static_cast<double>(d);
    const auto scale = static_cast<float>(1.0 / std::sqrt(mean + eps));
    for (int64_t i = 0; i < d; ++i) out[i] = in[i] * scale * weight.data[i];
  });
}

void AddInPlace(View<float, 2> h, View<const float, 2> delta, Context& context) {
  const int64_t d = h.shape[1];
  ForEachRow(h.shape[0], d, context, [&](int64_t t) {
    float* out = h[t].data;
    const float* in = delta[t].data;
    for (int64_t i = 0; i < d; ++i) out[i] += in[i];
  });
}

}  // namespace octet
