#include "model/parameters.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "model/role_slots.h"

namespace octet {
namespace {

constexpr int64_t kAlignFloats = 16;

View<const float, 1>& VectorOf(Weights& weights, const TensorSpec& spec) {
  if (spec.role == TensorRole::kFinalNorm) return weights.final_norm;
  LayerWeights& layer = weights.layers[static_cast<size_t>(spec.layer)];
  if (spec.role == TensorRole::kRouterBias) return layer.router_bias;
  return spec.role == TensorRole::kAttnNorm ? layer.attn_norm : layer.ffn_norm;
}

Weights EmptyWeights(const ModelConfig& config) {
  Weights weights;
  weights.layers.resize(static_cast<size_t>(config.n_layers));
  for (LayerWeights& layer : weights.layers)
    layer.experts.resize(static_cast<size_t>(config.feed_forwards()));
  return weights;
}

/// A float matrix made from a pointer that was not const.
View<float, 2> Mutable(const WeightMatrix& w) {
  auto* data = const_cast<float*>(reinterpret_cast<const float*>(w.data));
  return MakeView(data, w.rows, w.cols);
}
View<float, 1> Mutable(View<const float, 1> v) {
  return MakeView(const_cast<float*>(v.data), v.shape[0]);
}

Weights WeightsOver(const ModelConfig& config, Parameters& parameters) {
  Weights weights = EmptyWeights(config);
  for (const Parameters::Tensor& tensor : parameters.tensors()) {
    float* data = parameters.Of(tensor).data();
    const auto& shape = tensor.spec.shape;
    if (shape.size() == 1) {
      VectorOf(weights, tensor.spec) = MakeView(static_cast<const float*>(data), shape[0]);
      continue;
    }
    WeightMatrix* matrix = MatrixSlot(weights, tensor.spec);
    CHECK(matrix != nullptr);
    *matrix = {tensor.name, Format::kF32, Layout::kRowMajor,
               shape[0],    shape[1],     reinterpret_cast<const std::byte*>(data)};
  }
  if (config.tied_embeddings) weights.head = weights.embedding;
  return weights;
}

}  // namespace

WeightMatrix* MatrixSlot(Weights& weights, const TensorSpec& spec) {
  if (spec.role == TensorRole::kEmbedding) return &weights.embedding;
  if (spec.role == TensorRole::kHead) return &weights.head;
  if (spec.layer < 0) return nullptr;
  LayerWeights& layer = weights.layers[static_cast<size_t>(spec.layer)];
  Expert& expert = layer.experts[static_cast<size_t>(std::max(spec.expert, 0))];
  switch (spec.role) {
    case TensorRole::kWq:
      return &layer.wq;
    case TensorRole::kWk:
      return &layer.wk;
    case TensorRole::kWv:
      return &layer.wv;
    case TensorRole::kWo:
      return &layer.wo;
    case TensorRole::kRouter:
      return &layer.router;
    case TensorRole::kW1:
      return &expert.w1;
    case TensorRole::kW2:
      return &expert.w2;
    case TensorRole::kW3:
      return &expert.w3;
    default:
      return nullptr;
  }
}

Result<Parameters> Parameters::Create(const ModelConfig& config, std::string_view what) {
  Parameters parameters;
  int64_t offset = 0;
  for (TensorSpec& spec : TensorSpecs(config)) {
    int64_t size = 1;
    for (const int64_t n : spec.shape) size *= n;
    std::string name = PlaceOf(spec, config, Naming::kHfSplit).name;
    parameters.tensors_.push_back({std::move(spec), std::move(name), offset, size});
    offset += (size + kAlignFloats - 1) / kAlignFloats * kAlignFloats;
  }
  parameters.size_ = static_cast<size_t>(offset);
  OCTET_ASSIGN(parameters.buffer_, Buffer::Allocate(parameters.size_ * sizeof(float), what));
  return parameters;
}

Result<Parameters> WithRouterBias(ModelConfig& config, Parameters weights) {
  if (!config.is_moe() || config.router_bias) return weights;
  config.router_bias = true;
  OCTET_ASSIGN(Parameters extended, Parameters::Create(config, "float weights"));
  extended.SetZero();
  size_t from = 0;
  for (const Parameters::Tensor& tensor : extended.tensors()) {
    if (tensor.spec.role == TensorRole::kRouterBias) continue;
    const std::span<const float> values = weights.Of(weights.tensors()[from++]);
    std::copy(values.begin(), values.end(), extended.Of(tensor).begin());
  }
  return extended;
}

void Parameters::SetZero() { std::memset(buffer_.data(), 0, size_ * sizeof(float)); }

Gradients ViewsOf(const ModelConfig& config, Parameters& parameters) {
  const Weights weights = WeightsOver(config, parameters);
  Gradients g;
  g.embedding = Mutable(weights.embedding);
  g.head = Mutable(weights.head);
  g.final_norm = Mutable(weights.final_norm);
  for (const LayerWeights& layer : weights.layers) {
    LayerGradients views{
        Mutable(layer.attn_norm), Mutable(layer.ffn_norm), Mutable(layer.wq),     Mutable(layer.wk),
        Mutable(layer.wv),        Mutable(layer.wo),       Mutable(layer.router), {}};
    for (const Expert& e : layer.experts)
      views.experts.push_back({Mutable(e.w1), Mutable(e.w3), Mutable(e.w2), {}, {}, {}});
    g.layers.push_back(std::move(views));
  }
  return g;
}

Gradients FrozenGradients(const ModelConfig& config) {
  Gradients g;
  g.layers.resize(static_cast<size_t>(config.n_layers));
  for (LayerGradients& layer : g.layers)
    layer.experts.resize(static_cast<size_t>(config.feed_forwards()));
  return g;
}

std::unique_ptr<Model> ModelOver(const ModelConfig& config, Parameters& parameters) {
  return Model::FromWeights(config, WeightsOver(config, parameters));
}

Result<Parameters> DecodeWeights(const Model& model) {
  OCTET_ASSIGN(Parameters parameters, Parameters::Create(model.config(), "float weights"));
  Weights weights = model.weights();
  for (const Parameters::Tensor& tensor : parameters.tensors()) {
    float* out = parameters.Of(tensor).data();
    if (tensor.spec.shape.size() == 1) {
      const View<const float, 1> vector = VectorOf(weights, tensor.spec);
      std::copy_n(vector.data, vector.shape[0], out);
      continue;
    }
    const WeightMatrix& matrix = *MatrixSlot(weights, tensor.spec);
    if (matrix.layout != Layout::kRowMajor) {
      return Err(ErrorCode::kInvalidArgument,
                 "{}: packed weights cannot be trained; load the model without packing",
                 matrix.name);
    }
    for (int64_t r = 0; r < matrix.rows; ++r) {
      Info(matrix.format)
          .decode(matrix.data + r * matrix.row_bytes(), matrix.cols, out + r * matrix.cols);
    }
  }
  return parameters;
}

}  // namespace octet
