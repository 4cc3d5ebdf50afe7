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

  /// A model over weights that something else owns and may change: the trainer's.
  static std::unique_ptr<Model> FromWeights(const ModelConfig& config, Weights weights);

  /// Re-tiles every quantised matrix for the fastest of `kernels`, tensor by tensor: the packed
  /// copy is owned, the file's pages are let go as soon as a tensor is done, so that memory never
  /// holds the model twice. Results keep their bits. Float formats and embedding rows stay in the
  /// file's order. `on_progress(done, total)` counts packed bytes. kOutOfMemory leaves a usable
  /// model.
  using PackProgress = std::function<void(int64_t done, int64_t total)>;
  Status Pack(const KernelTable& kernels, ThreadPool& pool, const PackProgress& on_progress = {});
  /// Bytes Pack would own, 0 when there is nothing to re-tile.
  int64_t PackedBytes(const KernelTable& kernels) const;

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
