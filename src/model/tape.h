// What a forward pass leaves for the backward pass.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "model/activations.h"
#include "model/batch.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "ops/attention.h"
#include "ops/dropout.h"
#include "ops/router_loss.h"
#include "tensor/arena.h"
#include "tensor/view.h"

namespace octet {

/// What is kept of a layer beside the residual stream at its input; the rest is computed again,
/// with the same bits.
enum class Recompute : uint8_t {
  kNone,    // everything is kept
  kLayers,  // only the router's logits and choices
};

/// The tape of one batch at a time. It is also the batch's KvSource: keys and values of the batch
/// itself, in float, one layer's at a time. Sequences are whole, from position 0, and numbered 0,
/// 1, … in the order of the batch.
class Tape final : public KvSource {
 public:
  Tape(const ModelConfig& config, Recompute recompute) : config_(config), recompute_(recompute) {}

  /// From the next batch on an expert takes ExpertCapacity(factor, …) choices at most; 0: all.
  void LimitExperts(double factor) { capacity_factor_ = factor; }
  /// What the passes over the next batch leave out, forward and back; rate 0: nothing.
  void LeaveOut(const Dropout& dropout) { dropout_ = dropout; }
  const Dropout* dropout() const { return dropout_.rate > 0 ? &dropout_ : nullptr; }
  /// Makes room for a batch and forgets the one before.
  void Begin(const Batch& batch);
  KvView KvOf(int32_t sequence, int32_t layer) override;

  /// Called by Forward: keeps the residual stream h [T, d_model] as it enters `layer` and says
  /// where the layer's intermediates go. layer == n_layers: the last one's output.
  LayerActs& Enter(int32_t layer, View<const float, 2> h);
  void Leave(View<const float, 2> h) { Keep(config_.n_layers, h); }

  /// The residual stream before `layer`; of n_layers: after the last.
  View<const float, 2> residual(int64_t layer) const {
    return residual_[static_cast<size_t>(layer)];
  }
  LayerActs& acts(int32_t layer) { return acts_[static_cast<size_t>(layer)]; }
  /// True when acts(layer) holds another layer's values by the time of the backward pass.
  bool MustRecompute(int32_t layer) const {
    return recompute_ == Recompute::kLayers && layer + 1 < config_.n_layers;
  }
  std::span<const AttentionSegment> segments() const { return segments_; }
  /// Every layer's router; empty for a dense model.
  std::vector<RoutedLayer> routers() const;
  int64_t bytes() const { return static_cast<int64_t>(arena_.capacity_bytes()); }

 private:
  void Keep(int64_t layer, View<const float, 2> h);
  void MakeSegments(const Batch& batch);

  ModelConfig config_;
  Recompute recompute_;
  double capacity_factor_ = 0;
  Dropout dropout_;
  Arena arena_;
  std::optional<Arena::Scope> scope_;
  std::vector<View<float, 2>> residual_;  // [n_layers + 1]
  std::vector<LayerActs> acts_;           // [n_layers]
  std::vector<AttentionSegment> segments_;
  std::vector<std::byte*> k_pages_, v_pages_;  // one a sequence
};

}  // namespace octet
