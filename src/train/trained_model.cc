#include "train/trained_model.h"

#include <utility>

#include "train/float_file.h"

namespace octet {

Status TrainedModel::Write(const std::filesystem::path& folder) const {
  if (adapters != nullptr)
    return adapters->Save(folder, model->checkpoint().path.filename().string(), adapter_format);
  std::vector<NamedFloats> named;
  for (size_t i = 0; i < tensors.size(); ++i)
    named.push_back({tensors[i].name, shapes[i], tensors[i].weight});
  return WriteFloats(folder, named);
}

Result<TrainedModel> TrainWeights(const ModelConfig& config, Parameters weights) {
  TrainedModel t;
  t.weights = std::make_unique<Parameters>(std::move(weights));
  OCTET_ASSIGN(Parameters grads, Parameters::Create(config, "gradients"));
  t.weight_grads = std::make_unique<Parameters>(std::move(grads));
  t.model = ModelOver(config, *t.weights);
  t.gradients = ViewsOf(config, *t.weight_grads);
  t.tensors = AllTensors(*t.weights, *t.weight_grads);
  for (const Parameters::Tensor& tensor : t.weights->tensors())
    t.shapes.push_back(tensor.spec.shape);
  return t;
}

Result<TrainedModel> TrainAdapters(std::unique_ptr<Model> model, Adapters adapters) {
  TrainedModel t;
  t.model = std::move(model);
  t.adapters = std::make_unique<Adapters>(std::move(adapters));
  OCTET_ASSIGN(Adapters grads, Adapters::Create(t.model->config(), t.adapters->options()));
  t.adapter_grads = std::make_unique<Adapters>(std::move(grads));
  t.adapters->AttachTo(t.model->mutable_weights());
  t.gradients = FrozenGradients(t.model->config());
  t.adapter_grads->AddViewsTo(t.gradients);
  for (size_t i = 0; i < t.adapters->entries().size(); ++i) {
    const Adapters::Entry &e = t.adapters->entries()[i], &g = t.adapter_grads->entries()[i];
    const bool router = e.spec.role == TensorRole::kRouter;
    t.tensors.push_back(
        {e.name + ".lora_A.weight", t.adapters->A(e), t.adapter_grads->A(g), false, router});
    t.tensors.push_back(
        {e.name + ".lora_B.weight", t.adapters->B(e), t.adapter_grads->B(g), false, router});
    t.shapes.push_back({e.rank, e.cols});
    t.shapes.push_back({e.rows, e.rank});
  }
  return t;
}

}  // namespace octet
