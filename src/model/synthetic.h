// Models with random weights, of any shape: what tests and benchmarks run without a file.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "io/checkpoint.h"
#include "model/config.h"
#include "model/tensor_specs.h"
#include "quant/format.h"

namespace octet {

struct SyntheticOptions {
  Format matrices = Format::kF32;  // norms and the router are always F32
  uint64_t seed = 1;
  std::string name = "synthetic";  // stands for the path, in errors too
  /// Where set, decides instead of `matrices`: the mix of a quantised file.
  std::function<Format(const TensorSpec& spec, const std::string& name)> choose = {};
};

/// A checkpoint in memory with GGUF names, values normal with variance 1/cols (norms near 1), so
/// that activations keep their size through the layers and routers choose all experts about
/// equally often. The same seed gives the same bytes. A tensor is drawn when its Data() is asked
/// for and stays until it is released: then spans from before are dead, and Data() draws the same
/// again. One thread at a time.
Result<Checkpoint> MakeSyntheticCheckpoint(const ModelConfig& config,
                                           const SyntheticOptions& options);

}  // namespace octet
