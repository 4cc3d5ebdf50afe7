// The intermediates of one layer: one set, reused layer after layer by inference.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "ops/expert_ffn.h"
#include "tensor/arena.h"
#include "tensor/view.h"

namespace octet {

/// What TileLayerForward (model/tile_layer.h) keeps for the gradient instead of attn_in … ffn_out,
/// except for attn, log_sum and what the router made. Empty in inference.
struct TileActs {
  uint16_t* attn_in = nullptr;  // an operand of all rows, turned, in pairs
  View<uint16_t, 2> q, k, v;    // rounded to bf16; q turned and scaled
  View<float, 2> h_mid;         // the residual stream between the halves
  View<uint16_t, 2> ffn_in;     // rounded to bf16
};

struct LayerActs {
  View<float, 2> attn_in;        // [T, d_model] rms_norm(h)
  View<float, 2> q;              // [T, q_dim] turned and scaled
  View<float, 2> k, v;           // [T, kv_dim]
  View<float, 2> attn;           // [T, q_dim] attention's output, before wo
  View<float, 2> log_sum;        // [T, n_heads] of attention, for the gradient; empty in inference
  View<float, 2> attn_out;       // [T, d_model] after wo, before the residual
  View<float, 2> ffn_in;         // [T, d_model] rms_norm(h)
  View<float, 2> router_logits;  // [T, E]
  View<int32_t, 2> experts;      // [T, k]
  View<float, 2> gate_weights;   // [T, k]
  int64_t capacity = 0;          // choices an expert takes, in training; 0: all
  ExpertActs expert;
  View<float, 2> ffn_out;  // [T, d_model] before the residual
  TileActs tiles;
};

/// `most_choices`: experts a token, where that is more than the model's.
LayerActs AllocateLayerActs(const ModelConfig& config, int64_t rows, Arena& arena,
                            int64_t most_choices = 0);

/// The first `rows` of each, as inference has them.
LayerActs FirstRows(const LayerActs& acts, int64_t rows);

}  // namespace octet
