#include "perf/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <span>
#include <utility>

#include "base/f16.h"
#include "base/rng.h"
#include "quant/integer_dot.h"

namespace octet {

/// How many rows went through each expert of each layer.
class TouchedExperts : public Observer {
 public:
  bool wants_activations() const override { return false; }
  bool wants_every_row() const override { return false; }
  void OnRouting(int32_t layer, View<const int32_t, 2> experts, View<const float, 2>) override {
    for (int64_t t = 0; t < experts.shape[0]; ++t) {
      for (const int32_t expert : experts[t]) ++rows_[{layer, expert}];
    }
  }
  double RowsOf(int32_t layer, int32_t expert) const {
    const auto found = rows_.find({layer, expert});
    return found == rows_.end() ? 0 : static_cast<double>(found->second);
  }
  int64_t count() const { return static_cast<int64_t>(rows_.size()); }

 private:
  std::map<std::pair<int32_t, int32_t>, int64_t> rows_;
};

namespace {

double MatrixFlops(const WeightMatrix& w, double tokens) {
  return 2.0 * static_cast<double>(w.rows) * static_cast<double>(w.cols) * tokens;
}

constexpr int32_t kPageTokens = 64;
constexpr int64_t kCountedSteps = 8;  // of a text, whose experts are counted

/// Tokens that sequence `b` needs room for.
int64_t TokensOf(const std::vector<StepShape>& shapes, int64_t b) {
  int64_t tokens = 0;
  for (const StepShape& shape : shapes) {
    if (b < shape.batch) tokens = std::max(tokens, shape.room());
  }
  return tokens;
}

/// A token by its probability, at temperature 1: what people let models say, and more varied than
/// the likeliest ones, which soon repeat themselves. `uniform` is in [0, 1).
int32_t DrawToken(std::span<const float> logits, double uniform, std::vector<float>& weights) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  weights.resize(logits.size());
  double sum = 0;
  for (size_t i = 0; i < logits.size(); ++i)
    sum += static_cast<double>(weights[i] = std::exp(logits[i] - largest));
  double left = uniform * sum;
  for (size_t i = 0; i + 1 < weights.size(); ++i) {
    left -= static_cast<double>(weights[i]);
    if (left < 0) return static_cast<int32_t>(i);
  }
  return static_cast<int32_t>(weights.size()) - 1;
}

int64_t MostSequences(const std::vector<StepShape>& shapes) {
  int64_t batch = 0;
  for (const StepShape& shape : shapes) batch = std::max(batch, shape.batch);
  return batch;
}

int64_t PagesOf(const std::vector<StepShape>& shapes) {
  int64_t pages = 0;
  for (int64_t b = 0; b < MostSequences(shapes); ++b)
    pages += (TokensOf(shapes, b) + kPageTokens - 1) / kPageTokens;
  return pages;
}

}  // namespace

int64_t StepBench::KvBytes(const ModelConfig& config, const std::vector<StepShape>& shapes,
                           Format kv_format) {
  return PagesOf(shapes) * kPageTokens * KvCache::BytesPerToken(config, kv_format);
}

Result<StepBench> StepBench::Create(const Model& model, std::vector<StepShape> shapes,
                                    Format kv_format) {
  OCTET_ASSIGN(KvCache kv,
               KvCache::Create(model.config(), {kv_format, kPageTokens, PagesOf(shapes)}));
  StepBench bench(model, std::move(shapes), std::move(kv));
  for (int64_t b = 0; b < MostSequences(bench.shapes_); ++b) {
    const int32_t sequence = bench.kv_.AddSequence();
    OCTET_TRY(bench.kv_.Reserve(sequence, TokensOf(bench.shapes_, b)));
  }
  OCTET_TRY(bench.FillCache());
  for (const StepShape& shape : bench.shapes_) bench.AddRows(shape);
  return bench;
}

void StepBench::AddRows(const StepShape& shape) {
  const auto vocab = static_cast<uint64_t>(model_->config().vocab_size);
  Rows rows;
  for (int64_t b = 0; b < shape.batch; ++b) {
    for (int64_t i = 0; i < shape.rows; ++i) {
      const uint64_t bits = RandomBits(17, static_cast<uint64_t>(b), static_cast<uint64_t>(i));
      rows.token.push_back(static_cast<int32_t>(bits % vocab));
      rows.position.push_back(static_cast<int32_t>(shape.depth + i));
      rows.sequence.push_back(static_cast<int32_t>(b));
    }
    rows.logit_rows.push_back(static_cast<int32_t>(rows.token.size()) - 1);
  }
  rows_.push_back(std::move(rows));
}

void StepBench::BeginTexts(size_t i) {
  Rows& rows = rows_[i];
  const auto vocab = static_cast<uint64_t>(model_->config().vocab_size);
  ++rows.texts;
  rows.steps_done = 0;
  for (size_t b = 0; b < rows.token.size(); ++b) {
    rows.token[b] = static_cast<int32_t>(RandomBits(19, rows.texts, b) % vocab);
    rows.position[b] = static_cast<int32_t>(shapes_[i].depth);
  }
}

void StepBench::Advance(size_t i, View<const float, 2> logits, Context& context) {
  Rows& rows = rows_[i];
  if (++rows.steps_done == shapes_[i].text_tokens) {
    BeginTexts(i);
    return;
  }
  // On all threads, which so stay awake for the next step; not a part of one.
  context.pool.ParallelFor(shapes_[i].batch, [&](int64_t task, int) {
    const auto b = static_cast<size_t>(task);
    const double uniform = RandomUniform(rows.texts, static_cast<uint64_t>(rows.position[b]), b);
    std::vector<float> weights;
    rows.token[b] = DrawToken(logits[task], uniform, weights);
    ++rows.position[b];
  });
}

/// Past keys and values are made up: small numbers, so that no softmax is degenerate.
Status StepBench::FillCache() {
  const ModelConfig& config = model_->config();
  const FormatInfo& format = Info(kv_.options().format);
  const int64_t row_values = config.kv_dim() * kPageTokens;
  std::vector<float> values(static_cast<size_t>(row_values));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(0.5 * RandomNormal(23, 1, i));
  std::vector<std::byte> page(static_cast<size_t>(FormatBytes(format.format, row_values)));
  format.encode(values.data(), row_values, page.data());
  for (int32_t sequence = 0; sequence < MostSequences(shapes_); ++sequence) {
    for (int32_t layer = 0; layer < config.n_layers; ++layer) {
      const KvView view = kv_.KvOf(sequence, layer);
      for (std::byte* target : view.k_pages) std::copy(page.begin(), page.end(), target);
      for (std::byte* target : view.v_pages) std::copy(page.begin(), page.end(), target);
    }
  }
  return {};
}

double StepBench::Step(size_t i, Context& context) {
  const auto start = std::chrono::steady_clock::now();
  const Arena::Scope scope(context.scratch);
  if (context.profile != nullptr) context.profile->Start();
  const View<float, 2> logits =
      Forward(*model_, rows_[i].batch(), kv_, {.every_row = every_row_}, context);
  if (context.profile != nullptr) context.profile->Stop();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (shapes_[i].text_tokens > 0) Advance(i, logits, context);
  return seconds;
}

int64_t StepBench::LastRows(size_t i) const {
  return every_row_ ? shapes_[i].tokens() : static_cast<int64_t>(rows_[i].logit_rows.size());
}

void StepBench::CountMatrices(size_t i, TouchedExperts& touched, StepCost& cost) const {
  const ModelConfig& config = model_->config();
  const auto rows = static_cast<double>(shapes_[i].tokens());
  const auto add = [&](const WeightMatrix& w, bool is_read, double rows_through) {
    if (!w) return;
    const double flops = MatrixFlops(w, rows_through);
    if (is_read) cost.weight_bytes += static_cast<double>(w.bytes());
    cost.flops += flops;
    if (FindIntegerDot(w.format) != nullptr) cost.int8_flops += flops;
  };
  for (int32_t l = 0; l < config.n_layers; ++l) {
    const LayerWeights& layer = model_->weights().layers[static_cast<size_t>(l)];
    const double out_rows = l + 1 < config.n_layers ? rows : static_cast<double>(LastRows(i));
    for (const WeightMatrix* w : {&layer.wk, &layer.wv}) add(*w, true, rows);
    for (const WeightMatrix* w : {&layer.wq, &layer.wo, &layer.router}) add(*w, true, out_rows);
    for (int32_t e = 0; e < static_cast<int32_t>(layer.experts.size()); ++e) {
      const double rows_through = config.is_moe() ? touched.RowsOf(l, e) : out_rows;
      const Expert& expert = layer.experts[static_cast<size_t>(e)];
      for (const WeightMatrix* w : {&expert.w1, &expert.w2, &expert.w3})
        add(*w, rows_through > 0, rows_through);
    }
  }
  add(model_->weights().head, true, static_cast<double>(rows_[i].logit_rows.size()));
}

StepCost StepBench::CostOfStep(size_t i, Context& context) {
  TouchedExperts touched;
  {
    const Arena::Scope scope(context.scratch);
    const View<float, 2> logits = Forward(*model_, rows_[i].batch(), kv_,
                                          {.observer = &touched, .every_row = every_row_}, context);
    if (shapes_[i].text_tokens > 0) Advance(i, logits, context);
  }
  StepCost cost;
  CountMatrices(i, touched, cost);
  cost.experts_touched = static_cast<double>(touched.count());
  return cost;
}

StepCost StepBench::Cost(size_t i, Context& context) {
  const ModelConfig& config = model_->config();
  const StepShape& shape = shapes_[i];
  const int64_t steps = std::clamp<int64_t>(shape.text_tokens, 1, kCountedSteps);
  StepCost cost;
  for (int64_t s = 0; s < steps; ++s) {
    const StepCost step = CostOfStep(i, context);
    cost.weight_bytes += step.weight_bytes / static_cast<double>(steps);
    cost.flops += step.flops / static_cast<double>(steps);
    cost.int8_flops += step.int8_flops / static_cast<double>(steps);
    cost.experts_touched += step.experts_touched / static_cast<double>(steps);
  }
  const auto rows = static_cast<double>(shape.tokens());
  const double layer_rows =
      rows * static_cast<double>(config.n_layers - 1) + static_cast<double>(LastRows(i));
  cost.rows_per_matrix =
      config.is_moe()
          ? layer_rows * static_cast<double>(config.n_experts_per_token) / cost.experts_touched
          : rows;
  const double depth = shape.mean_depth(), new_rows = static_cast<double>(shape.rows);
  const double window =
      config.sliding_window > 0 ? static_cast<double>(config.sliding_window) : depth + new_rows;
  const double keys = std::min(depth + (new_rows + 1) / 2, window);
  // Rows that alone end the last layer are the last of their prompts.
  const double last_keys = every_row_ ? keys : std::min(depth + new_rows, window);
  const double queries = rows * keys * static_cast<double>(config.n_layers - 1) +
                         static_cast<double>(LastRows(i)) * last_keys;
  cost.flops += queries * 4.0 * static_cast<double>(config.q_dim());
  cost.kv_bytes = static_cast<double>(shape.batch) *
                  std::min(depth + new_rows, window + new_rows - 1) *
                  static_cast<double>(KvCache::BytesPerToken(config, kv_.options().format));
  return cost;
}

double LeastSeconds(const StepCost& cost, const MachineRates& rates) {
  const double filled = std::min(1.0, cost.rows_per_matrix / 16);
  const double float_rate = std::max(rates.fma_f32, rates.amx_bf16 * filled);
  const double int8_rate = std::max({rates.dot_int8, rates.amx_int8 * filled, float_rate});
  double compute_s = 0;
  if (float_rate > 0)
    compute_s = cost.int8_flops / int8_rate + (cost.flops - cost.int8_flops) / float_rate;
  const double bytes = cost.weight_bytes + cost.kv_bytes;
  return std::max(rates.read > 0 ? bytes / rates.read : 0.0, compute_s);
}

}  // namespace octet
