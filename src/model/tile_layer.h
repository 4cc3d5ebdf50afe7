// One transformer layer of training under Arithmetic::kBf16: what happens to a row by itself
// (norms, linear maps, rotation, the router) is done in blocks of rows that stay in a core's cache
// from one step to the next, and leaves as what the gradient reads: packed operands, values rounded
// to bf16. docs/performance/training.md says what that saves.
#pragma once

#include <span>

#include "model/activations.h"
#include "model/layer.h"
#include "model/weights.h"
#include "ops/expert_plan.h"

namespace octet {

/// Rows of a block: a multiple of kTileDepth, and few enough for the second-level cache.
constexpr int64_t kLayerBlockRows = 128;

/// True under kBf16, on a tape's activations and whole sequences, without adapters.
bool CanTileLayer(const LayerWeights& weights, std::span<const AttentionSegment> segments,
                  const LayerActs& acts, const Context& context);

/// As LayerForward, near its results. Fills acts.tiles, attn, log_sum, the router's and
/// acts.expert's kept values, nothing else.
void TileLayerForward(const StepInput& step, const LayerWeights& weights,
                      std::span<const AttentionSegment> segments, View<float, 2> h, LayerActs& acts,
                      Context& context);

/// Which rows go where: of the router's choices, or all rows to the one expert of a dense model.
ExpertPlan MakeLayerPlan(const ModelConfig& config, const LayerActs& acts, int64_t rows,
                         Arena& arena);

}  // namespace octet
