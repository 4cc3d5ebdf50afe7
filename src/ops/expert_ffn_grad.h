// Gradient of ExpertFfn and DenseFfn. docs/math/expert_ffn.md.
#pragma once

#include <span>

#include "ops/context.h"
#include "ops/expert_ffn.h"
#include "ops/expert_plan.h"
#include "ops/lora.h"
#include "tensor/view.h"

namespace octet {

/// Gradients of one expert's weights, added to; empty views are frozen.
struct ExpertGrads {
  View<float, 2> w1, w3;  // [d_ff, d_model]
  View<float, 2> w2;      // [d_model, d_ff]
  AdapterGrads adapter_w1, adapter_w3, adapter_w2;
};

struct ExpertFfnGradTask {
  std::span<const Expert> experts;
  const ExpertActs& acts;      // as the forward left them, with acts.gate
  View<const float, 2> d_out;  // [T, d_model]
  View<float, 2> d_x;          // [T, d_model], overwritten
  std::span<const ExpertGrads> grads;
  View<const float, 2> x = {};  // [T, d_model] what the forward read; for acts of TileFfn
};

/// d_weights[t, j] = d_out[t] · expert_{choice j}(x[t]), overwritten.
void ExpertFfnGrad(const ExpertFfnGradTask& task, const ExpertPlan& plan, View<float, 2> d_weights,
                   Context& context);

/// `x` [T, d_model] is what the forward read.
void DenseFfnGrad(const ExpertFfnGradTask& task, View<const float, 2> x, Context& context);

}  // namespace octet
