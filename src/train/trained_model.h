// What a run trains: all weights of a model, or adapters beside frozen ones.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/lora.h"
#include "model/parameters.h"
#include "model/weights.h"
#include "train/tensors.h"

namespace octet {

struct TrainedModel {
  std::unique_ptr<Model> model;
  Gradients gradients;                       // where Backward adds
  std::vector<TrainedTensor> tensors;        // what the optimiser changes
  std::vector<std::vector<int64_t>> shapes;  // of them

  // What owns the memory of the above; adapters are null when all weights are trained.
  std::unique_ptr<Parameters> weights, weight_grads;
  std::unique_ptr<Adapters> adapters, adapter_grads;
  AdapterFormat adapter_format = AdapterFormat::kPeft;

  /// Adapters in the files of adapter_format, or the weights as model.safetensors.
  Status Write(const std::filesystem::path& folder) const;
};

Result<TrainedModel> TrainWeights(const ModelConfig& config, Parameters weights);
/// The model's own weights stay as they are stored: quantised ones too.
Result<TrainedModel> TrainAdapters(std::unique_ptr<Model> model, Adapters adapters);

}  // namespace octet
