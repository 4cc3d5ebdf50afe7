// Loading a model in the way that fits this machine: re-tiled where memory allows, else where its
// files are mapped.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"
#include "engine/engine.h"
#include "kernels/registry.h"
#include "model/weights.h"
#include "octet/engine.h"

namespace octet {

struct ModelRequest {
  const KernelTable& kernels;
  Arithmetic arithmetic = Arithmetic::kFast;  // only fast kernels read other orders than rows
  int threads = 0;                            // for re-tiling
  int64_t kv_bytes = 0;                       // that keys and values will take beside it
  bool retile = true;                         // where that fits
  std::function<void(int64_t done, int64_t total)> on_retile = {};
};

/// `config` is the checkpoint's. Re-tiled weights that do not fit beside the keys and values are
/// used where the file is mapped: slower, but the system can drop and re-read their pages.
/// kOutOfMemory when keys and values, which cannot be paged out to the model's file, leave no room:
/// says how much is needed, how much there is, and what to change.
Result<std::unique_ptr<Model>> LoadModel(Checkpoint checkpoint, const ModelConfig& config,
                                         const ModelRequest& request);

/// The same for an engine of these options; `kv_bytes` counts what other models have too.
struct EngineRequest {
  const LoadOptions& options;
  const EngineOptions& engine;
  int64_t kv_bytes;
};
Result<std::unique_ptr<Model>> LoadWeights(Checkpoint checkpoint, const ModelConfig& config,
                                           const EngineRequest& request);

}  // namespace octet
