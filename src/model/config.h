// A model's shape: every number the forward pass needs, whatever file it came from.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "io/checkpoint.h"
#include "ops/rope.h"

namespace octet {

struct ModelConfig {
  std::string architecture;  // "mixtral", "mistral", "llama"
  int64_t n_layers = 0;
  int64_t d_model = 0;
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t d_ff = 0;       // of one expert
  int64_t n_experts = 0;  // 0: dense, one feed-forward and no router
  int64_t n_experts_per_token = 0;
  int64_t vocab_size = 0;
  int64_t context_len = 0;     // positions it was trained for
  int64_t sliding_window = 0;  // keys a query sees, itself included; 0: all
  double norm_eps = 1e-5;
  double rope_theta = 1e4;
  double rope_scale = 1.0;  // linear position scaling: angle = position * rope_scale * frequency
  bool tied_embeddings = false;
  bool router_bias = false;  // routers choose by logits + a bias an expert (loss-free balancing)
  RopePairing rope_pairing = RopePairing::kInterleaved;

  bool is_moe() const { return n_experts > 0; }
  int64_t q_dim() const { return n_heads * head_dim; }
  int64_t kv_dim() const { return n_kv_heads * head_dim; }
  int64_t feed_forwards() const { return n_experts > 0 ? n_experts : 1; }
};

/// From config.json, params.json or GGUF metadata. Sizes are checked against each other and against
/// bounds that keep later arithmetic from overflowing; the error names the key.
Result<ModelConfig> ReadModelConfig(const Checkpoint& checkpoint);

/// Parameters in all, and those one token uses (its top-k experts), norms included.
struct ParameterCount {
  int64_t total = 0;
  int64_t active = 0;
};
ParameterCount CountParameters(const ModelConfig& config);

/// Operations of learning from one token that sees `keys` keys (itself included; on average): three
/// times those of the forward pass, 2 a multiply-add, in matrices (the head, not the embedding) and
/// attention.
double TrainingFlops(const ModelConfig& config, double keys);

}  // namespace octet
