// The feed-forward of training and its gradient under Arithmetic::kBf16: a block of an expert's
// rows goes from the gathering to w2 in one piece, while it is in the cache, and back.
// docs/math/expert_ffn.md.
#pragma once

#include <span>

#include "ops/expert_ffn.h"
#include "ops/expert_ffn_grad.h"

namespace octet {

/// True when the acts keep what the gradient needs in bf16 and no expert has an adapter.
bool CanTileFfn(std::span<const Expert> experts, const ExpertActs& acts, const Context& context);

/// acts.y [S, d_model] = w2 · SwiGLU(w1 x, w3 x) of every slot's row of x; fills acts.kept_gate and
/// acts.kept_up, nothing else.
void TileFfn(View<const float, 2> x, std::span<const Expert> experts, const ExpertPlan& plan,
             const ExpertActs& acts, Context& context);

/// From d_out [T, d_model] (times the slot's weight) to d_slots [S, d_model], the gradient by the
/// slots' inputs, and the experts' weights.
void TileFfnGrad(const ExpertFfnGradTask& task, const ExpertPlan& plan, View<float, 2> d_slots,
                 Context& context);

}  // namespace octet
