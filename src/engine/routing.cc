#include "engine/routing.h"

#include <algorithm>

#include "base/check.h"

namespace octet {

RoutingRecorder::RoutingRecorder(const Model& model, int64_t most_rows)
    : n_layers_(model.config().is_moe() ? model.config().n_layers : 0),
      n_experts_(model.config().n_experts),
      load_(static_cast<size_t>(n_layers_ * n_experts_)),
      counts_(static_cast<size_t>(n_experts_)),
      most_rows_(most_rows) {
  shared_bytes_ = model.weights().head.bytes();
  for (const LayerWeights& layer : model.weights().layers) {
    for (const WeightMatrix* w : {&layer.wq, &layer.wk, &layer.wv, &layer.wo, &layer.router})
      shared_bytes_ += w->bytes();
    for (const Expert& expert : layer.experts) {
      const int64_t bytes = expert.w1.bytes() + expert.w2.bytes() + expert.w3.bytes();
      if (n_layers_ == 0) shared_bytes_ += bytes;
      if (n_layers_ > 0) expert_bytes_.push_back(bytes);
    }
  }
}

void RoutingRecorder::BeginStep(bool keep_rows) {
  step_bytes_ = shared_bytes_;
  keep_rows_ = keep_rows;
  if (!keep_rows || !experts_.empty()) return;
  experts_.resize(static_cast<size_t>(n_layers_ * most_rows_ * n_experts_));
  weights_.resize(experts_.size());
}

void RoutingRecorder::OnRouting(int32_t layer, View<const int32_t, 2> experts,
                                View<const float, 2> weights) {
  const int64_t k = experts.shape[1];
  std::ranges::fill(counts_, 0);
  for (int64_t t = 0; t < experts.shape[0]; ++t) {
    for (int64_t j = 0; j < k && experts[t].data[j] >= 0; ++j)
      ++counts_[static_cast<size_t>(experts[t].data[j])];
  }
  const auto first = static_cast<size_t>(layer * n_experts_);
  for (size_t e = 0; e < counts_.size(); ++e) {
    if (counts_[e] == 0) continue;
    load_[first + e].fetch_add(counts_[e], std::memory_order_relaxed);
    step_bytes_ += expert_bytes_[first + e];
  }
  if (!keep_rows_) return;
  CHECK(experts.shape[0] <= most_rows_ && k <= n_experts_);
  for (int64_t t = 0; t < experts.shape[0]; ++t) {
    const int64_t at = (layer * most_rows_ + t) * n_experts_;
    std::fill_n(std::copy_n(experts[t].data, k, experts_.begin() + at), n_experts_ - k, -1);
    std::copy_n(weights[t].data, k, weights_.begin() + at);
  }
}

TokenRouting RoutingRecorder::Row(int64_t row, int32_t position) const {
  TokenRouting out;
  out.position = position;
  const auto begin = [&](int64_t layer) { return (layer * most_rows_ + row) * n_experts_; };
  int64_t k = 0;
  for (int64_t layer = 0; layer < n_layers_; ++layer) {
    while (k < n_experts_ && experts_[static_cast<size_t>(begin(layer) + k)] >= 0) ++k;
  }
  out.experts_per_layer = static_cast<int32_t>(k);
  for (int64_t layer = 0; layer < n_layers_; ++layer) {
    const auto experts = experts_.begin() + begin(layer);
    const auto weights = weights_.begin() + begin(layer);
    out.experts.insert(out.experts.end(), experts, experts + k);
    out.weights.insert(out.weights.end(), weights, weights + k);
  }
  return out;
}

std::vector<int64_t> RoutingRecorder::Load() const {
  std::vector<int64_t> load;
  load.reserve(load_.size());
  for (const auto& count : load_) load.push_back(count.load(std::memory_order_relaxed));
  return load;
}

}  // namespace octet
