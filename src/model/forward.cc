#include "model/forward.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "model/activations.h"
#include "model/layer.h"
#include "model/tape.h"
#include "ops/embed.h"
#include "ops/linear.h"
#include "ops/rms_norm.h"

namespace octet {
namespace {

/// Runs of rows of one sequence; pages are filled in layer by layer.
std::span<AttentionSegment> MakeSegments(const Batch& batch, Arena& arena) {
  const int64_t rows = batch.rows();
  auto* segments = arena.Allocate<AttentionSegment>(rows);
  int64_t n = 0;
  for (int64_t t = 0; t < rows; ++t) {
    if (t > 0 && batch.sequence[t] == batch.sequence[t - 1]) {
      CHECK(batch.position[t] == batch.position[t - 1] + 1);
      ++segments[n - 1].rows;
    } else {
      segments[n++] = AttentionSegment{t, 1, batch.position[t], {}};
    }
  }
  return {segments, static_cast<size_t>(n)};
}

int64_t MostChoices(const Batch& batch) {
  int64_t most = 0;
  for (const ExpertControls* controls : batch.controls) {
    if (controls != nullptr) most = std::max<int64_t>(most, controls->top_k);
  }
  return most;
}

View<float, 2> GatherRows(View<const float, 2> h, std::span<const int32_t> rows, Arena& arena) {
  auto gathered = arena.Matrix<float>(static_cast<int64_t>(rows.size()), h.shape[1]);
  for (size_t r = 0; r < rows.size(); ++r) {
    std::memcpy(gathered[static_cast<int64_t>(r)].data, h[rows[r]].data,
                static_cast<size_t>(h.shape[1]) * sizeof(float));
  }
  return gathered;
}

}  // namespace

View<float, 2> Forward(const Model& model, const Batch& batch, KvSource& kv,
                       const ForwardOptions& options, Context& context) {
  const ModelConfig& config = model.config();
  const Weights& weights = model.weights();
  const int64_t rows = batch.rows();
  // Allocated before the step's scratch, so that it outlives it.
  auto logits = context.scratch.Matrix<float>(static_cast<int64_t>(batch.logit_rows.size()),
                                              config.vocab_size);

  Arena::Scope scope(context.scratch);
  auto h = context.scratch.Matrix<float>(rows, config.d_model);
  Embed(weights.embedding, batch.token, h, context);
  if (options.observer != nullptr) options.observer->OnActivation("embed", -1, h);

  const RopeTable rope =
      MakeRopeTable(batch.position, config.head_dim, config.rope_theta, config.rope_scale, context);
  const std::span<AttentionSegment> segments = MakeSegments(batch, context.scratch);
  LayerActs own;
  if (options.tape == nullptr) {
    own = AllocateLayerActs(config, rows, context.scratch, MostChoices(batch));
  }
  StepInput step{config, rope, options.observer, batch.controls, batch.adapters};
  for (int32_t layer = 0; layer < config.n_layers; ++layer) {
    step.layer = layer;
    for (AttentionSegment& segment : segments)
      segment.kv = kv.KvOf(batch.sequence[segment.first_row], layer);
    LayerActs& acts = options.tape == nullptr ? own : options.tape->Enter(layer, h);
    LayerForward(step, weights.layers[static_cast<size_t>(layer)], segments, h, acts, context);
  }

  if (options.tape != nullptr) options.tape->Leave(h);

  // A trace wants the final norm of every row; otherwise only rows that need logits pay for it.
  if (options.observer != nullptr && options.observer->wants_activations()) {
    auto normed = context.scratch.Matrix<float>(rows, config.d_model);
    RmsNorm(h, weights.final_norm, config.norm_eps, normed, context);
    options.observer->OnActivation("final_norm", -1, normed);
    options.observer->OnMatrixInput(TensorRole::kHead, -1, normed);
  }
  auto last = GatherRows(h, batch.logit_rows, context.scratch);
  RmsNorm(last, weights.final_norm, config.norm_eps, last, context);
  const LinearTask head{&weights.head, last, logits};
  TimedLinear(StepPart::kHead, {&head, 1}, context);
  return logits;
}

}  // namespace octet
