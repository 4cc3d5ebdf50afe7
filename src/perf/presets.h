// Shapes of well-known models, for benchmarks that need no file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/config.h"

namespace octet {

/// "mixtral-8x7b", "mixtral-8x22b", "mistral-7b", "llama-2-70b": the released widths, `layers` of
/// them (0: all); "tiny-moe": a toy of two layers. kInvalidArgument lists the names.
Result<ModelConfig> PresetConfig(std::string_view name, int64_t layers);
std::vector<std::string> PresetNames();

}  // namespace octet
