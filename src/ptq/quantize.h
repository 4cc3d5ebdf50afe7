// Quantising a checkpoint: a conversion to GGUF whose types a recipe chooses.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "octet/quantize.h"
#include "ptq/importance.h"
#include "ptq/recipe.h"
#include "ptq/tensor_plan.h"

namespace octet {

/// The types that a conversion gives its tensors.
struct QuantizeChoice {
  Recipe recipe;
  RecipeChanges changes;
  uint32_t file_type = 0;                              // general.file_type
  std::string description;                             // differs between choices
  std::shared_ptr<const ImportanceMatrix> importance;  // null: every weight counts the same
  std::string importance_file;                         // its name

  Format Choose(const PlannedTensor& tensor, const ModelConfig& config) const;
};

/// From the options' names. Errors: kInvalidArgument.
Result<QuantizeChoice> ChooseQuantisation(const QuantizeOptions& options);

/// What octet::Quantize promises (octet/quantize.h).
Result<QuantizeReport> QuantizeCheckpoint(const std::filesystem::path& source,
                                          const std::filesystem::path& destination,
                                          const QuantizeOptions& options);

}  // namespace octet
