// One transformer layer, backward: the mirror image of LayerForward.
#pragma once

#include <span>

#include "model/activations.h"
#include "model/layer.h"
#include "model/parameters.h"
#include "ops/attention.h"
#include "ops/context.h"
#include "ops/router_loss.h"

namespace octet {

/// The router's losses in the total, with `scale` on both; absent for a dense model.
struct RouterTerms {
  RouterLossOptions options;
  RouterStatistics statistics;
  double scale = 1;
};

struct LayerGradTask {
  const StepInput& step;
  const LayerWeights& weights;
  std::span<const AttentionSegment> segments;
  View<const float, 2> h;  // [T, d_model] the layer's input
  const LayerActs& acts;   // as LayerForward left them
  const RouterTerms* router;
  const LayerGradients& grads;  // added to
  bool begins = false;          // BackwardTask's
};

/// The gradient by what a branch put out, of the one by what the residual stream became: d_h
/// itself, or with dropout a copy in the scratch without what was left out.
View<float, 2> OfBranch(const StepInput& step, Branch branch, View<float, 2> d_h, Context& context);

/// d_h [T, d_model]: in, the gradient by the layer's output; out, by its input.
void LayerBackward(const LayerGradTask& task, View<float, 2> d_h, Context& context);

}  // namespace octet
