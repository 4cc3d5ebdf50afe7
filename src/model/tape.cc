#include "model/tape.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "ops/expert_plan.h"
#include "ops/tiles.h"

namespace octet {
namespace {

/// Attention reads blocks of 64 keys in place where a page holds whole ones (kernels/kernel.h).
constexpr int64_t kPageMultiple = 64;

/// For either arithmetic: memory that is never touched costs nothing.
LayerActs AllocateKept(const ModelConfig& c, int64_t rows, Arena& arena) {
  LayerActs acts = AllocateLayerActs(c, rows, arena);
  acts.log_sum = arena.Matrix<float>(rows, c.n_heads);
  acts.expert.gate = arena.Matrix<float>(acts.expert.hidden.shape[0], acts.expert.hidden.shape[1]);
  acts.expert.kept_gate =
      arena.Matrix<uint16_t>(acts.expert.hidden.shape[0], acts.expert.hidden.shape[1]);
  acts.expert.kept_up =
      arena.Matrix<uint16_t>(acts.expert.hidden.shape[0], acts.expert.hidden.shape[1]);
  acts.tiles = {arena.Allocate<uint16_t>(TileOperand::Values(c.d_model, rows)),
                arena.Matrix<uint16_t>(rows, c.q_dim()),
                arena.Matrix<uint16_t>(rows, c.kv_dim()),
                arena.Matrix<uint16_t>(rows, c.kv_dim()),
                arena.Matrix<float>(rows, c.d_model),
                arena.Matrix<uint16_t>(rows, c.d_model)};
  return acts;
}

}  // namespace

void Tape::Begin(const Batch& batch) {
  scope_.reset();
  scope_.emplace(arena_);
  const int64_t rows = batch.rows();
  residual_.clear();
  acts_.clear();
  for (int64_t layer = 0; layer <= config_.n_layers; ++layer)
    residual_.push_back(arena_.Matrix<float>(rows, config_.d_model));
  for (int64_t layer = 0; layer < config_.n_layers; ++layer) {
    if (recompute_ == Recompute::kNone || layer == 0) {
      acts_.push_back(AllocateKept(config_, rows, arena_));
      continue;
    }
    acts_.push_back(acts_[0]);  // the same memory, except for what the router's losses read
    acts_.back().router_logits = arena_.Matrix<float>(rows, config_.n_experts);
    acts_.back().experts = arena_.Matrix<int32_t>(rows, config_.n_experts_per_token);
  }
  for (LayerActs& acts : acts_) {
    if (!config_.is_moe()) break;
    acts.capacity =
        ExpertCapacity(capacity_factor_, rows, config_.n_experts_per_token, config_.n_experts);
  }
  MakeSegments(batch);
}

void Tape::MakeSegments(const Batch& batch) {
  segments_.clear();
  for (int64_t t = 0; t < batch.rows(); ++t) {
    const auto i = static_cast<size_t>(t);
    const auto current = static_cast<int32_t>(segments_.size()) - 1;
    if (batch.sequence[i] != current) {
      CHECK(batch.sequence[i] == current + 1);
      segments_.push_back({t, 0, 0, {}});
    }
    CHECK(batch.position[i] == segments_.back().rows);
    ++segments_.back().rows;
  }
  k_pages_.resize(segments_.size());
  v_pages_.resize(segments_.size());
  for (size_t s = 0; s < segments_.size(); ++s) {
    // One page for the whole sequence.
    const int64_t page = (segments_[s].rows + kPageMultiple - 1) / kPageMultiple * kPageMultiple;
    const int64_t floats = page * config_.kv_dim();
    k_pages_[s] = reinterpret_cast<std::byte*>(arena_.Allocate<float>(floats));
    v_pages_[s] = reinterpret_cast<std::byte*>(arena_.Allocate<float>(floats));
    segments_[s].kv = {{&k_pages_[s], 1},
                       {&v_pages_[s], 1},
                       static_cast<int32_t>(page),
                       static_cast<int32_t>(config_.n_kv_heads),
                       static_cast<int32_t>(config_.head_dim),
                       Format::kF32};
  }
}

KvView Tape::KvOf(int32_t sequence, int32_t) { return segments_[static_cast<size_t>(sequence)].kv; }

void Tape::Keep(int64_t layer, View<const float, 2> h) {
  std::memcpy(residual_[static_cast<size_t>(layer)].data, h.data,
              static_cast<size_t>(h.size()) * sizeof(float));
}

LayerActs& Tape::Enter(int32_t layer, View<const float, 2> h) {
  Keep(layer, h);
  return acts(layer);
}

std::vector<RoutedLayer> Tape::routers() const {
  std::vector<RoutedLayer> routers;
  if (!config_.is_moe()) return routers;
  for (const LayerActs& acts : acts_) routers.push_back({acts.router_logits, acts.experts});
  return routers;
}

}  // namespace octet
