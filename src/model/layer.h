// One transformer layer, forward.
#pragma once

#include <span>

#include "model/activations.h"
#include "model/batch.h"
#include "model/observer.h"
#include "model/weights.h"
#include "ops/attention.h"
#include "ops/context.h"
#include "ops/dropout.h"
#include "ops/rope.h"

namespace octet {

/// What all layers of a step share.
struct StepInput {
  const ModelConfig& config;
  const RopeTable& rope;
  Observer* observer;                                    // may be null
  std::span<const ExpertControls* const> controls = {};  // as Batch's
  std::span<const int32_t> adapters = {};                // as Batch's
  int32_t layer = 0;
  const Dropout* dropout = nullptr;  // of a training pass; nullptr: everything stays
};

/// h [T, d_model] += attention(norm(h)); h += feed_forward(norm(h)). `segments` hold this layer's
/// pages, to which the rows' keys and values are appended. Fills `acts`.
void LayerForward(const StepInput& step, const LayerWeights& weights,
                  std::span<const AttentionSegment> segments, View<float, 2> h, LayerActs& acts,
                  Context& context);

/// Some rows of a step, as a step of their own.
struct StepRows {
  std::span<const int32_t> index;  // [R] of the step's rows, ascending
  StepInput step;
  std::span<const AttentionSegment> segments;  // over the R rows
  View<float, 2> h;                            // [R, d_model]
};

/// The last layer where the output of `some` rows alone is wanted: all rows leave their keys and
/// values, and only those go on. h [T, d_model] is read; some.h gets the layer's output, with the
/// bits that LayerForward gives these rows. The first R rows of `acts` are filled.
void LastLayerForward(const StepInput& step, const LayerWeights& weights,
                      std::span<const AttentionSegment> segments, View<const float, 2> h,
                      const StepRows& some, LayerActs& acts, Context& context);

}  // namespace octet
