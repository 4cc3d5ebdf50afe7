// Folds adapters into a model's weights. Part of the public facade.
#pragma once

#include <filesystem>

#include "octet/error.h"

namespace octet {

struct MergeOptions {
  double scale = 1;    // multiplies what was trained
  bool force = false;  // replace an existing destination
};

/// Writes W + scale · alpha / rank · B A of every adapted matrix, and the other weights as they
/// are, as a Hugging Face folder of float32. The model is held in memory as floats. `adapter` is a
/// PEFT or Mistral folder. Errors: those of reading either, kInvalidArgument when they do not fit
/// or `destination` is there.
Status MergeAdapter(const std::filesystem::path& model, const std::filesystem::path& adapter,
                    const std::filesystem::path& destination, const MergeOptions& options);

}  // namespace octet
