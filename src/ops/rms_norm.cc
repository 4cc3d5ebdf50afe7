#include "ops/rms_norm.h"

#include "ops/rows.h"

namespace octet {

void RmsNorm(View<const float, 2> x, View<const float, 1> weight, double eps, View<float, 2> y,
             Context& context) {
  const PartScope part(context.profile, StepPart::kNorm);
  const int64_t d = x.shape[1];
  ForEachRow(x.shape[0], d, context, [&](int64_t t) {
    context.kernels.norm->norm({x[t].data, nullptr, nullptr, weight.data, eps, y[t].data, d});
  });
}

void AddAndRmsNorm(View<float, 2> h, View<const float, 2> delta, View<const float, 1> weight,
                   double eps, View<float, 2> y, Context& context) {
  const PartScope part(context.profile, StepPart::kNorm);
  const int64_t d = h.shape[1];
  ForEachRow(h.shape[0], 2 * d, context, [&](int64_t t) {
    context.kernels.norm->norm(
        {h[t].data, delta[t].data, h[t].data, weight.data, eps, y[t].data, d});
  });
}

void AddInPlace(View<float, 2> h, View<const float, 2> delta, Context& context) {
  const PartScope part(context.profile, StepPart::kAdd);
  const int64_t d = h.shape[1];
  ForEachRow(h.shape[0], d, context, [&](int64_t t) {
    const float one = 1;
    const float* row = delta[t].data;
    context.kernels.sum->sum({h[t].data, true, &row, &one, 1, d});
  });
}

}  // namespace octet
