// A float for every value of every tensor of a model, in one buffer: master weights, gradients, an
// optimiser's moments. The same configuration gives the same layout, so that an optimiser walks
// them side by side.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/result.h"
#include "model/config.h"
#include "model/tensor_specs.h"
#include "model/weights.h"
#include "ops/expert_ffn_grad.h"
#include "tensor/view.h"

namespace octet {

class Parameters {
 public:
  struct Tensor {
    TensorSpec spec;
    std::string name;  // Hugging Face's (Naming::kHfSplit)
    int64_t offset = 0, size = 0;
  };

  /// Zeros; `what` names them in an error about memory.
  static Result<Parameters> Create(const ModelConfig& config, std::string_view what);

  const std::vector<Tensor>& tensors() const { return tensors_; }
  /// All values, with a few zeros between tensors that keep each 64-byte aligned.
  std::span<float> values() { return {buffer_.as<float>(), size_}; }
  std::span<const float> values() const { return {buffer_.as<float>(), size_}; }
  std::span<float> Of(const Tensor& tensor) {
    return values().subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.size));
  }
  std::span<const float> Of(const Tensor& tensor) const {
    return values().subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.size));
  }
  void SetZero();

 private:
  std::vector<Tensor> tensors_;
  Buffer buffer_;
  size_t size_ = 0;
};

/// The same values by role. An empty view is not trained.
struct LayerGradients {
  View<float, 1> attn_norm, ffn_norm;
  View<float, 2> wq, wk, wv, wo, router;
  std::vector<ExpertGrads> experts;
  AdapterGrads adapter_q, adapter_k, adapter_v, adapter_o, adapter_router;
};
struct Gradients {
  View<float, 2> embedding;
  View<float, 2> head;  // the embedding again when tied
  View<float, 1> final_norm;
  std::vector<LayerGradients> layers;
};
Gradients ViewsOf(const ModelConfig& config, Parameters& parameters);
/// None of them: every weight frozen.
Gradients FrozenGradients(const ModelConfig& config);

/// A model over `parameters`, which it does not own and sees change.
std::unique_ptr<Model> ModelOver(const ModelConfig& config, Parameters& parameters);

/// The model's weights as floats, whatever they are stored as.
Result<Parameters> DecodeWeights(const Model& model);

/// The same weights with a bias of zero for every router, which `config` says from then on. As they
/// are for a dense model and where there is one already.
Result<Parameters> WithRouterBias(ModelConfig& config, Parameters weights);

}  // namespace octet
