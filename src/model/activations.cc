#include "model/activations.h"

#include <algorithm>

namespace octet {

LayerActs AllocateLayerActs(const ModelConfig& c, int64_t rows, Arena& arena,
                            int64_t most_choices) {
  const int64_t k = std::max<int64_t>(c.n_experts_per_token, most_choices);
  LayerActs acts;
  acts.attn_in = arena.Matrix<float>(rows, c.d_model);
  acts.q = arena.Matrix<float>(rows, c.q_dim());
  acts.k = arena.Matrix<float>(rows, c.kv_dim());
  acts.v = arena.Matrix<float>(rows, c.kv_dim());
  acts.attn = arena.Matrix<float>(rows, c.q_dim());
  acts.attn_out = arena.Matrix<float>(rows, c.d_model);
  acts.ffn_in = arena.Matrix<float>(rows, c.d_model);
  acts.router_logits = arena.Matrix<float>(rows, c.n_experts);
  acts.experts = arena.Matrix<int32_t>(rows, k);
  acts.gate_weights = arena.Matrix<float>(rows, k);
  acts.expert = AllocateExpertActs(rows * std::max<int64_t>(1, k), c.d_model, c.d_ff, arena);
  acts.ffn_out = arena.Matrix<float>(rows, c.d_model);
  return acts;
}

}  // namespace octet
