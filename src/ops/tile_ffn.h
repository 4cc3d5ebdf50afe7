// The feed-forward of training and its gradient under Arithmetic::kBf16: a block of an expert's
// rows goes from the gathering to w2 in one piece, while it is in the cache, and back.
// docs/math/expert_ffn.md.
#pragma once

#include <span>

#include "ops/expert_ffn.h"
#include "ops/expert_ffn_grad.h"
#include "ops/tiles.h"

namespace octet {

/// True when the acts keep what the gradient needs in bf16 and no expert has an adapter.
bool CanTileFfn(std::span<const Expert> experts, const ExpertActs& acts, const Context& context);

/// y [S, d_model] = w2 · SwiGLU(w1 x, w3 x) of every slot's row of x; fills acts.kept_gate and
/// acts.kept_up, nothing else.
void TileFfn(const TileSource& x, std::span<const Expert> experts, const ExpertPlan& plan,
             const ExpertActs& acts, View<float, 2> y, Context& context);

struct TileFfnGradTask {
  std::span<const Expert> experts;
  const ExpertActs& acts;  // as TileFfn left them
  TileSource x, d_out;     // [T, d_model] what the forward read; the gradient by what it made
  std::span<const ExpertGrads> grads;
  bool begins = false;  // grads hold nothing yet: they are written
};
/// From d_out [T, d_model] to d_weights [T, k], the gradient by the choices' weights (written);
/// d_slots [S, d_model], the one by the slots' inputs; and the experts' weights.
void TileFfnGrad(const TileFfnGradTask& task, const ExpertPlan& plan, View<float, 2> d_weights,
                 View<float, 2> d_slots, Context& context);

}  // namespace octet
