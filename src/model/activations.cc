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

LayerActs FirstRows(const LayerActs& acts, int64_t rows) {
  const int64_t slots = acts.expert.x.shape[0] / acts.attn_in.shape[0] * rows;
  LayerActs first;
  first.attn_in = acts.attn_in.Rows(0, rows);
  first.q = acts.q.Rows(0, rows);
  first.k = acts.k.Rows(0, rows);
  first.v = acts.v.Rows(0, rows);
  first.attn = acts.attn.Rows(0, rows);
  first.attn_out = acts.attn_out.Rows(0, rows);
  first.ffn_in = acts.ffn_in.Rows(0, rows);
  first.router_logits = acts.router_logits.Rows(0, rows);
  first.experts = acts.experts.Rows(0, rows);
  first.gate_weights = acts.gate_weights.Rows(0, rows);
  first.capacity = acts.capacity;
  first.expert.x = acts.expert.x.Rows(0, slots);
  first.expert.hidden = acts.expert.hidden.Rows(0, slots);
  first.expert.up = acts.expert.up.Rows(0, slots);
  first.expert.y = acts.expert.y.Rows(0, slots);
  first.ffn_out = acts.ffn_out.Rows(0, rows);
  return first;
}

}  // namespace octet
