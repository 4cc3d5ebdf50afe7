#include "perf/measure.h"

#include <chrono>
#include <set>
#include <utility>

#include "base/f16.h"
#include "base/rng.h"

namespace octet {
namespace {

/// Which (layer, expert) pairs a step touched.
class TouchedExperts : public Observer {
 public:
  void OnRouting(int32_t layer, View<const int32_t, 2> experts, View<const float, 2>) override {
    for (int64_t t = 0; t < experts.shape[0]; ++t) {
      for (const int32_t expert : experts[t]) touched.insert({layer, expert});
    }
  }
  std::set<std::pair<int32_t, int32_t>> touched;
};

double MatrixFlops(const WeightMatrix& w, double tokens) {
  return 2.0 * static_cast<double>(w.rows) * static_cast<double>(w.cols) * tokens;
}

}  // namespace

Result<StepRunner> StepRunner::Create(const Model& model, const StepShape& shape,
                                      Format kv_format) {
  constexpr int32_t kPageTokens = 64;
  const int64_t pages = (shape.depth + shape.rows + kPageTokens - 1) / kPageTokens;
  OCTET_ASSIGN(KvCache kv,
               KvCache::Create(model.config(), {kv_format, kPageTokens, pages * shape.batch}));
  StepRunner runner(model, shape, std::move(kv));
  const auto vocab = static_cast<uint64_t>(model.config().vocab_size);
  for (int64_t b = 0; b < shape.batch; ++b) {
    const int32_t sequence = runner.kv_.AddSequence();
    OCTET_TRY(runner.kv_.Reserve(sequence, shape.depth + shape.rows));
    for (int64_t i = 0; i < shape.rows; ++i) {
      const uint64_t bits = RandomBits(17, static_cast<uint64_t>(b), static_cast<uint64_t>(i));
      runner.token_.push_back(static_cast<int32_t>(bits % vocab));
      runner.position_.push_back(static_cast<int32_t>(shape.depth + i));
      runner.sequence_.push_back(sequence);
    }
    runner.logit_rows_.push_back(static_cast<int32_t>(runner.token_.size()) - 1);
  }
  OCTET_TRY(runner.FillCache());
  return runner;
}

/// Past keys and values are made up: small numbers, so that no softmax is degenerate.
Status StepRunner::FillCache() {
  if (shape_.depth == 0) return {};
  const ModelConfig& config = model_->config();
  const FormatInfo& format = Info(kv_.options().format);
  const int64_t row_values = config.kv_dim() * kv_.options().page_tokens;
  std::vector<float> values(static_cast<size_t>(row_values));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(0.5 * RandomNormal(23, 1, i));
  std::vector<std::byte> page(static_cast<size_t>(FormatBytes(format.format, row_values)));
  format.encode(values.data(), row_values, page.data());
  for (int32_t sequence = 0; sequence < shape_.batch; ++sequence) {
    for (int32_t layer = 0; layer < config.n_layers; ++layer) {
      const KvView view = kv_.KvOf(sequence, layer);
      for (std::byte* target : view.k_pages) std::copy(page.begin(), page.end(), target);
      for (std::byte* target : view.v_pages) std::copy(page.begin(), page.end(), target);
    }
  }
  return {};
}

double StepRunner::Step(Context& context) {
  const auto start = std::chrono::steady_clock::now();
  const Arena::Scope scope(context.scratch);
  Forward(*model_, {token_, position_, sequence_, logit_rows_}, kv_, {}, context);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

StepCost StepRunner::Cost(Context& context) {
  TouchedExperts observer;
  {
    const Arena::Scope scope(context.scratch);
    Forward(*model_, {token_, position_, sequence_, logit_rows_}, kv_, {&observer}, context);
  }
  const ModelConfig& config = model_->config();
  const Weights& weights = model_->weights();
  const auto rows = static_cast<double>(tokens());
  StepCost cost;
  const auto add = [&](const WeightMatrix& w, double tokens_through) {
    if (!w) return;
    cost.weight_bytes += w.bytes();
    cost.flops += MatrixFlops(w, tokens_through);
  };
  const double per_expert =
      config.is_moe() ? rows * static_cast<double>(config.n_experts_per_token) : rows;
  for (int32_t l = 0; l < config.n_layers; ++l) {
    const LayerWeights& layer = weights.layers[static_cast<size_t>(l)];
    for (const WeightMatrix* w : {&layer.wq, &layer.wk, &layer.wv, &layer.wo, &layer.router})
      add(*w, rows);
    for (int32_t e = 0; e < static_cast<int32_t>(layer.experts.size()); ++e) {
      if (config.is_moe() && !observer.touched.contains({l, e})) continue;
      const Expert& expert = layer.experts[static_cast<size_t>(e)];
      for (const WeightMatrix* w : {&expert.w1, &expert.w2, &expert.w3})
        cost.weight_bytes += w->bytes();
    }
    const Expert& any = layer.experts[0];
    cost.flops += MatrixFlops(any.w1, per_expert) + MatrixFlops(any.w2, per_expert) +
                  MatrixFlops(any.w3, per_expert);
  }
  add(weights.head, static_cast<double>(logit_rows_.size()));
  const double keys = static_cast<double>(shape_.depth) + static_cast<double>(shape_.rows + 1) / 2;
  cost.flops += rows * keys * 4.0 * static_cast<double>(config.q_dim() * config.n_layers);
  cost.kv_bytes = shape_.batch * (shape_.depth + shape_.rows) *
                  KvCache::BytesPerToken(config, kv_.options().format);
  return cost;
}

}  // namespace octet
