// The feed-forward: gather rows by expert, w1 and w3, SwiGLU, w2, combine.
#pragma once

#include <span>

#include "ops/context.h"
#include "ops/expert_plan.h"
#include "tensor/view.h"
#include "tensor/weight_matrix.h"

namespace octet {

struct Expert {
  WeightMatrix w1, w3;  // [d_ff, d_model]: gate, up
  WeightMatrix w2;      // [d_model, d_ff]: down
};

/// Intermediates, rows sorted by expert (S = T·k; a dense model has S = T).
struct ExpertActs {
  View<float, 2> x;       // [S, d_model] gathered inputs
  View<float, 2> hidden;  // [S, d_ff] silu(w1 x) · (w3 x)
  View<float, 2> up;      // [S, d_ff] w3 x
  View<float, 2> y;       // [S, d_model] w2 hidden
  View<float, 2> gate;    // [S, d_ff] w1 x, kept for the gradient; empty in inference
  // [S, d_ff] w1 x and w3 x in bf16, instead of all above, where TileFfn runs (ops/tile_ffn.h)
  View<uint16_t, 2> kept_gate, kept_up;
};
ExpertActs AllocateExpertActs(int64_t slots, int64_t d_model, int64_t d_ff, Arena& arena);

/// out[t] = Σ_j plan.weight[t, j] · expert_{choice j}(x[t]), choices in order, best first.
/// Overwrites `out` [T, d_model] and `acts`.
void ExpertFfn(View<const float, 2> x, std::span<const Expert> experts, const ExpertPlan& plan,
               const ExpertActs& acts, View<float, 2> out, Context& context);

/// The one feed-forward of a dense model: out[t] = expert(x[t]). acts.x and acts.y are not used.
/// `adapter` as LinearTask's.
void DenseFfn(View<const float, 2> x, const Expert& expert, const ExpertActs& acts,
              View<float, 2> out, Context& context, std::span<const int32_t> adapter = {});

}  // namespace octet
