#include "ptq/calibration.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "model/tensor_specs.h"

namespace octet {

ImportanceCollector::ImportanceCollector(const ModelConfig& config) : config_(config) {
  const auto sums = [](int64_t cols) {
    return Sums{0, std::vector<double>(static_cast<size_t>(cols))};
  };
  const auto experts = static_cast<size_t>(config.feed_forwards());
  layers_.resize(static_cast<size_t>(config.n_layers));
  for (Layer& layer : layers_) {
    layer.attention = sums(config.d_model);
    layer.output = sums(config.q_dim());
    layer.router = sums(config.d_model);
    layer.experts.assign(experts, sums(config.d_model));
    layer.hidden.assign(experts, sums(config.d_ff));
  }
  head_ = sums(config.d_model);
}

ImportanceCollector::Sums* ImportanceCollector::Find(TensorRole role, int32_t layer,
                                                     int32_t expert) {
  if (role == TensorRole::kHead) return &head_;
  if (layer < 0) return nullptr;
  Layer& l = layers_[static_cast<size_t>(layer)];
  const auto e = static_cast<size_t>(std::max(expert, 0));
  switch (role) {
    case TensorRole::kWq:
    case TensorRole::kWk:
    case TensorRole::kWv:
      return &l.attention;
    case TensorRole::kWo:
      return &l.output;
    case TensorRole::kRouter:
      return &l.router;
    case TensorRole::kW1:
    case TensorRole::kW3:
      return &l.experts[e];
    case TensorRole::kW2:
      return &l.hidden[e];
    default:
      return nullptr;
  }
}

void ImportanceCollector::Add(Sums& sums, View<const float, 2> x) {
  CHECK(static_cast<size_t>(x.shape[1]) == sums.squares.size());
  for (int64_t t = 0; t < x.shape[0]; ++t) {
    const float* row = x[t].data;
    for (size_t c = 0; c < sums.squares.size(); ++c) {
      sums.squares[c] += static_cast<double>(row[c]) * row[c];
    }
  }
  sums.count += x.shape[0];
  const double total = *std::max_element(sums.squares.begin(), sums.squares.end());
  finite_ = finite_ && std::isfinite(total) && !std::isnan(sums.squares.front());
}

void ImportanceCollector::OnMatrixInput(TensorRole role, int32_t layer, View<const float, 2> x) {
  if (Sums* sums = Find(role, layer, 0)) Add(*sums, x);
}

void ImportanceCollector::OnExpertInput(int32_t layer, int32_t expert, View<const float, 2> x,
                                        View<const float, 2> hidden) {
  Add(*Find(TensorRole::kW1, layer, expert), x);
  Add(*Find(TensorRole::kW2, layer, expert), hidden);
}

ImportanceMatrix ImportanceCollector::Matrix() const {
  ImportanceMatrix matrix;
  auto* self = const_cast<ImportanceCollector*>(this);  // Find only looks
  for (const TensorSpec& spec : TensorSpecs(config_)) {
    const Sums* sums = self->Find(spec.role, spec.layer, spec.expert);
    if (sums == nullptr || spec.shape.size() != 2) continue;
    ImportanceEntry& entry = matrix.entries[PlaceOf(spec, config_, Naming::kGgufMerged).name];
    entry.cols = static_cast<int64_t>(sums->squares.size());
    ++entry.matrices;
    entry.counts.push_back(static_cast<float>(sums->count));
    for (const double square : sums->squares)
      entry.sum_squares.push_back(static_cast<float>(square));
  }
  return matrix;
}

Status ImportanceCollector::Restore(const ImportanceMatrix& matrix) {
  std::map<std::string, int64_t, std::less<>> next;  // matrix of each tensor
  const ImportanceMatrix shape = Matrix();
  for (const TensorSpec& spec : TensorSpecs(config_)) {
    Sums* sums = Find(spec.role, spec.layer, spec.expert);
    if (sums == nullptr || spec.shape.size() != 2) continue;
    const std::string name = PlaceOf(spec, config_, Naming::kGgufMerged).name;
    const ImportanceEntry& want = shape.entries.find(name)->second;
    OCTET_ASSIGN(const ImportanceEntry entry, EntryFor(matrix, name, want.matrices, want.cols));
    if (entry.matrices == 0) {
      return Err(ErrorCode::kInvalidArgument, "the importance matrix has nothing for {}", name);
    }
    const int64_t m = next[name]++;
    sums->count = entry.count(m);
    const float* from = entry.sum_squares.data() + m * entry.cols;
    std::copy(from, from + entry.cols, sums->squares.begin());
  }
  return {};
}

std::vector<int64_t> ImportanceCollector::ExpertTokens() const {
  std::vector<int64_t> tokens;
  for (const Layer& layer : layers_) {
    for (const Sums& expert : layer.experts) tokens.push_back(expert.count);
  }
  return tokens;
}

int64_t ImportanceCollector::LeastExpertTokens() const {
  const std::vector<int64_t> tokens = ExpertTokens();
  return *std::min_element(tokens.begin(), tokens.end());
}

}  // namespace octet
