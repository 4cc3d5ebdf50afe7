// Named float tensors in a safetensors file of a checkpoint.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/tensor_source.h"

namespace octet {

struct NamedFloats {
  std::string name;
  std::vector<int64_t> shape;
  std::span<const float> values;
};

/// One `model.safetensors` in `folder`, which is made.
Status WriteFloats(const std::filesystem::path& folder, const std::vector<NamedFloats>& tensors);

/// Copies a tensor of exactly that many floats; kCorrupt otherwise, naming `where`.
Status ReadFloats(const TensorSource& source, const std::filesystem::path& where,
                  const std::string& name, std::span<float> out);

}  // namespace octet
