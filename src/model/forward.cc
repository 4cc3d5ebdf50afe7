#include "model/forward.h"

#include <algorithm>

#include "base/check.h"
#include "model/activations.h"
#include "model/layer.h"
#include "model/tape.h"
#include "ops/embed.h"
#include "ops/linear.h"
#include "ops/rms_norm.h"
#include "ops/rows.h"

namespace octet {
namespace {

/// Runs of rows of one sequence; pages are filled in layer by layer.
std::span<AttentionSegment> MakeSegments(std::span<const int32_t> sequence,
                                         std::span<const int32_t> position, Arena& arena) {
  const size_t rows = sequence.size();
  auto* segments = arena.Allocate<AttentionSegment>(static_cast<int64_t>(rows));
  size_t n = 0;
  for (size_t t = 0; t < rows; ++t) {
    const bool same = t > 0 && sequence[t] == sequence[t - 1];
    CHECK(!same || position[t] > position[t - 1]);
    if (same && position[t] == position[t - 1] + 1) {
      ++segments[n - 1].rows;
    } else {
      segments[n++] = AttentionSegment{static_cast<int64_t>(t), 1, position[t], {}};
    }
  }
  return {segments, n};
}

void EnterLayer(std::span<const int32_t> sequence, int32_t layer, KvSource& kv,
                std::span<AttentionSegment> segments) {
  for (AttentionSegment& segment : segments)
    segment.kv = kv.KvOf(sequence[static_cast<size_t>(segment.first_row)], layer);
}

int64_t MostChoices(const Batch& batch) {
  int64_t most = 0;
  for (const ExpertControls* controls : batch.controls) {
    if (controls != nullptr) most = std::max<int64_t>(most, controls->top_k);
  }
  return most;
}

/// What belongs to the rows that need logits, of what belongs to all (or is empty).
template <class T>
std::span<const T> OfLogitRows(std::span<const T> all, const Batch& batch, Arena& arena) {
  if (all.empty()) return {};
  auto* some = arena.Allocate<T>(static_cast<int64_t>(batch.logit_rows.size()));
  for (size_t r = 0; r < batch.logit_rows.size(); ++r)
    some[r] = all[static_cast<size_t>(batch.logit_rows[r])];
  return {some, batch.logit_rows.size()};
}

/// The last layer's output of the rows that need logits goes to `last` [R, d_model]; nothing reads
/// that of the others.
void LastLayer(const Model& model, const Batch& batch, KvSource& kv, const StepInput& step,
               std::span<const AttentionSegment> segments, View<const float, 2> h,
               View<float, 2> last, LayerActs& acts, Context& context) {
  const ModelConfig& config = model.config();
  Arena& arena = context.scratch;
  const auto sequence = OfLogitRows(batch.sequence, batch, arena);
  const auto position = OfLogitRows(batch.position, batch, arena);
  const RopeTable rope =
      MakeRopeTable(position, config.head_dim, config.rope_theta, config.rope_scale, context);
  const std::span<AttentionSegment> queries = MakeSegments(sequence, position, arena);
  EnterLayer(sequence, step.layer, kv, queries);
  const StepInput some{config,
                       rope,
                       step.observer,
                       OfLogitRows(batch.controls, batch, arena),
                       OfLogitRows(batch.adapters, batch, arena),
                       step.layer};
  LastLayerForward(step, model.weights().layers.back(), segments, h,
                   {batch.logit_rows, some, queries, last}, acts, context);
}

}  // namespace

View<float, 2> Forward(const Model& model, const Batch& batch, KvSource& kv,
                       const ForwardOptions& options, Context& context) {
  const ModelConfig& config = model.config();
  const Weights& weights = model.weights();
  const int64_t rows = batch.rows();
  // Allocated before the step's scratch, so that it outlives it.
  const auto n_logits = static_cast<int64_t>(batch.logit_rows.size());
  auto logits = context.scratch.Matrix<float>(n_logits, config.vocab_size);

  Arena::Scope scope(context.scratch);
  auto h = context.scratch.Matrix<float>(rows, config.d_model);
  Embed(weights.embedding, batch.token, h, context);
  if (options.observer != nullptr) options.observer->OnActivation("embed", -1, h);

  const RopeTable rope =
      MakeRopeTable(batch.position, config.head_dim, config.rope_theta, config.rope_scale, context);
  const std::span<AttentionSegment> segments =
      MakeSegments(batch.sequence, batch.position, context.scratch);
  LayerActs own;
  if (options.tape == nullptr) {
    own = AllocateLayerActs(config, rows, context.scratch, MostChoices(batch));
  }
  auto last = context.scratch.Matrix<float>(n_logits, config.d_model);
  const bool every_row = n_logits == rows || options.every_row || options.tape != nullptr ||
                         (options.observer != nullptr && options.observer->wants_every_row());
  StepInput step{config, rope, options.observer, batch.controls, batch.adapters};
  if (options.tape != nullptr) step.dropout = options.tape->dropout();
  for (int32_t layer = 0; layer < config.n_layers; ++layer) {
    step.layer = layer;
    EnterLayer(batch.sequence, layer, kv, segments);
    LayerActs& acts = options.tape == nullptr ? own : options.tape->Enter(layer, h);
    if (every_row || layer + 1 < config.n_layers) {
      LayerForward(step, weights.layers[static_cast<size_t>(layer)], segments, h, acts, context);
    } else {
      LastLayer(model, batch, kv, step, segments, h, last, acts, context);
    }
  }

  if (options.tape != nullptr) options.tape->Leave(h);

  // A trace wants the final norm of every row; otherwise only rows that need logits pay for it.
  if (options.observer != nullptr && options.observer->wants_activations()) {
    auto normed = context.scratch.Matrix<float>(rows, config.d_model);
    RmsNorm(h, weights.final_norm, config.norm_eps, normed, context);
    options.observer->OnActivation("final_norm", -1, normed);
    options.observer->OnMatrixInput(TensorRole::kHead, -1, normed);
  }
  if (every_row) GatherRows(h, batch.logit_rows, last);
  RmsNorm(last, weights.final_norm, config.norm_eps, last, context);
  const LinearTask head{&weights.head, last, logits};
  TimedLinear(StepPart::kHead, {&head, 1}, context);
  return logits;
}

}  // namespace octet
