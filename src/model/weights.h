// A model's weights as matrices over mapped files.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "model/config.h"
#include "model/tensor_specs.h"
#include "ops/expert_ffn.h"
#include "ops/pack.h"
#include "tensor/view.h"
#include "tensor/weight_matrix.h"

namespace octet {

struct LayerWeights {
  View<const float, 1> attn_norm, ffn_norm;  // [d_model]
  WeightMatrix wq, wk, wv, wo;
  WeightMatrix router;                    // [n_experts, d_model]; empty when dense
  View<const float, 1> router_bias = {};  // [n_experts]; empty for most models
  std::vector<Expert> experts;            // one when dense
};

struct Weights {
  WeightMatrix embedding;  // [vocab, d_model]
  WeightMatrix head;       // [vocab, d_model]; the embedding again when tied
  View<const float, 1> final_norm;
  std::vector<LayerWeights> layers;
};

/// What will read the weights.
struct LoadTarget {
  const KernelTable* kernels = nullptr;  // null: any that read the order of rows
  Arithmetic arithmetic = Arithmetic::kFast;
  /// Where set, matrices are re-tiled for the fastest of `kernels` on these threads.
  ThreadPool* retile = nullptr;
  std::function<void(int64_t done, int64_t total)> on_retile = {};  // bytes, after each matrix
  const ModelConfig* config = nullptr;  // the checkpoint's, where it was read already
};

/// A loaded model: owns the mapping, the re-tiled matrices, and the few tensors that had to be
/// copied (norms as float, transposed experts).
class Model {
 public:
  /// Checks every tensor's shape against the configuration before anything is computed. Re-tiling
  /// goes matrix by matrix and lets go of the source as soon as one is done, so that memory never
  /// holds the model twice: at most one matrix beside the re-tiled ones. Results keep their bits.
  /// Embedding rows, and formats no kernel reads faster, stay as they are; so do the matrices of a
  /// packed file, which must be in layouts that `kernels` read.
  static Result<std::unique_ptr<Model>> Load(Checkpoint checkpoint, const LoadTarget& target = {});

  /// A model over weights that something else owns and may change: the trainer's.
  static std::unique_ptr<Model> FromWeights(const ModelConfig& config, Weights weights);

  const ModelConfig& config() const { return config_; }
  const Weights& weights() const { return weights_; }
  /// For what is attached to a model from outside (adapters), before it runs.
  Weights& mutable_weights() { return weights_; }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  /// Bytes of all weight matrices as stored, and of the memory this process owns for weights.
  int64_t weight_bytes() const { return weight_bytes_; }
  int64_t owned_bytes() const { return owned_bytes_; }
  /// Whether the forward pass reads any matrix in another order than that of rows.
  bool is_tiled() const { return is_tiled_; }

 private:
  Model() = default;
  friend class ModelLoader;
  Checkpoint checkpoint_;
  ModelConfig config_;
  Weights weights_;
  std::vector<Buffer> owned_;
  std::vector<std::unique_ptr<std::string>> names_;
  int64_t weight_bytes_ = 0;
  int64_t owned_bytes_ = 0;
  bool is_tiled_ = false;
};

}  // namespace octet
