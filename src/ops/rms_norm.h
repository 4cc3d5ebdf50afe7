// Root-mean-square normalisation (Zhang & Sennrich 2019).
#pragma once

#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

/// y[t] = x[t] / sqrt(mean(x[t]²) + eps) · weight. x, y [T, d]; weight [d]. y may be x. Overwrites.
void RmsNorm(View<const float, 2> x, View<const float, 1> weight, double eps, View<float, 2> y,
             Context& context);

/// h[t] += delta[t], and the norm of that to y: both in one pass over the row.
void AddAndRmsNorm(View<float, 2> h, View<const float, 2> delta, View<const float, 1> weight,
                   double eps, View<float, 2> y, Context& context);

/// h[t] += delta[t]: the residual stream.
void AddInPlace(View<float, 2> h, View<const float, 2> delta, Context& context);

}  // namespace octet
