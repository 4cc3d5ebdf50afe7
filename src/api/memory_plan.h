// Whether a model, its keys and values and a packed copy of its weights fit this machine.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "engine/engine.h"
#include "kernels/registry.h"
#include "model/weights.h"
#include "octet/engine.h"

namespace octet {

/// kOutOfMemory when keys and values of `kv_bytes`, which cannot be paged out to the model's file,
/// leave no room: says how much is needed, how much there is, and what to change.
Status CheckKvMemory(const Model& model, int64_t kv_bytes);

/// True when re-tiled weights fit beside the keys and values. Weights that do not are used where
/// the file is mapped: slower, but the system can drop and re-read their pages.
bool PackingFits(const Model& model, const KernelTable& kernels, int64_t kv_bytes);

/// Re-tiles the weights where the options ask for it and it fits beside `kv_bytes`. Float
/// arithmetic reads weights in the file's order only.
Status PackWeights(const LoadOptions& options, const EngineOptions& engine, int64_t kv_bytes,
                   Model& model);

}  // namespace octet
