// A model's weights as matrices over mapped files.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "model/config.h"
#include "model/tensor_specs.h"
#include "ops/expert_ffn.h"
#include "tensor/view.h"
#include "tensor/weight_matrix.h"

namespace octet {

struct LayerWeights {
  View<const float, 1> attn_norm, ffn_norm;  // [d_model]
  WeightMatrix wq, wk, wv, wo;
  WeightMatrix router;          // [n_experts, d_model]; empty when dense
  std::vector<Expert> experts;  // one when dense
};

struct Weights {
  WeightMatrix embedding;  // [vocab, d_model]
  WeightMatrix head;       // [vocab, d_model]; the embedding again when tied
  View<const float, 1> final_norm;
  std::vector<LayerWeights> layers;
};

/// A loaded model: owns the mapping and the few tensors that had to be copied (norms as float,
/// transposed experts, misaligned floats).
class Model {
 public:
  /// Checks every tensor's shape against the configuration before anything is computed.
  static Result<std::unique_ptr<Model>> Load(Checkpoint checkpoint);

  const ModelConfig& config() const { return config_; }
  const Weights& weights() const { return weights_; }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  /// Bytes of all weight matrices as stored, and of the copies this process owns.
  int64_t weight_bytes() const { return weight_bytes_; }
  int64_t copied_bytes() const { return copied_bytes_; }

 private:
  Model() = default;
  friend class ModelLoader;
  Checkpoint checkpoint_;
  ModelConfig config_;
  Weights weights_;
  std::vector<Buffer> copies_;
  std::vector<std::unique_ptr<std::string>> names_;
  int64_t weight_bytes_ = 0;
  int64_t copied_bytes_ = 0;
};

}  // namespace octet
