#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace octet {
namespace {

/// Rows a forward step takes: bounds the logits to 128 × vocabulary floats.
constexpr int64_t kStepRows = 128;

/// Sums over scored tokens, enough for the mean and its error.
struct Sums {
  double nll = 0, nll_squared = 0;
  int64_t count = 0;

  PerplexityResult Summary(int64_t windows) const {
    PerplexityResult result;
    result.windows = windows;
    result.scored_tokens = count;
    const auto n = static_cast<double>(count);
    result.mean_nll = nll / n;
    result.perplexity = std::exp(result.mean_nll);
    const double variance = nll_squared / n - result.mean_nll * result.mean_nll;
    // The error of the mean carries over to exp(mean) by its derivative.
    if (count > 1)
      result.standard_error = result.perplexity * std::sqrt(std::max(0.0, variance) / (n - 1));
    return result;
  }
};

/// Scores positions [first, window.size()-1): each predicts the next token.
void ScoreWindow(const Model& model, std::span<const int32_t> window, int64_t first, KvCache& kv,
                 Context& context, Sums& sums) {
  const auto n = static_cast<int64_t>(window.size());
  const int32_t sequence = kv.AddSequence();
  // Create() sized the cache for one window.
  (void)kv.Reserve(sequence, n);
  const std::vector<int32_t> sequences(kStepRows, sequence);
  std::vector<int32_t> positions(static_cast<size_t>(n)), rows;
  std::iota(positions.begin(), positions.end(), 0);
  for (int64_t at = 0; at < n; at += kStepRows) {
    const int64_t count = std::min(kStepRows, n - at);
    rows.clear();
    for (int64_t t = std::max(at, first); t < std::min(at + count, n - 1); ++t)
      rows.push_back(static_cast<int32_t>(t - at));
    Arena::Scope scope(context.scratch);
    const Batch batch{
        window.subspan(static_cast<size_t>(at), static_cast<size_t>(count)),
        std::span(positions).subspan(static_cast<size_t>(at), static_cast<size_t>(count)),
        std::span(sequences).first(static_cast<size_t>(count)), rows};
    const auto logits = Forward(model, batch, kv, {}, context);
    for (size_t r = 0; r < rows.size(); ++r) {
      const auto row = logits[static_cast<int64_t>(r)];
      const int32_t target = window[static_cast<size_t>(at + rows[r] + 1)];
      const double nll = -LogProbability({row.data, static_cast<size_t>(row.shape[0])}, target);
      sums.nll += nll;
      sums.nll_squared += nll * nll;
      ++sums.count;
    }
  }
  kv.RemoveSequence(sequence);
}

Status CheckInput(const Model& model, std::span<const int32_t> ids,
                  const PerplexityOptions& options) {
  const ModelConfig& config = model.config();
  if (ids.size() < 4)
    return Err(ErrorCode::kInvalidArgument, "the text has {} tokens, perplexity needs at least 4",
               ids.size());
  if (options.context < 4 || options.context > config.context_len) {
    return Err(ErrorCode::kInvalidArgument, "context {}: expected 4 to {}, the model's context",
               options.context, config.context_len);
  }
  for (const int32_t id : ids) {
    if (id < 0 || id >= config.vocab_size) {
      return Err(ErrorCode::kInvalidArgument, "token id {} is outside the vocabulary of {}", id,
                 config.vocab_size);
    }
  }
  return {};
}

}  // namespace

double LogProbability(std::span<const float> logits, int32_t target) {
  const float best = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - best);
  return static_cast<double>(logits[static_cast<size_t>(target)]) - best - std::log(sum);
}

Result<PerplexityResult> MeasurePerplexity(const Model& model, std::span<const int32_t> ids,
                                           const PerplexityOptions& options, Context& context,
                                           const PerplexityCallback& on_window) {
  OCTET_TRY(CheckInput(model, ids, options));
  const int64_t size = std::min(options.context, static_cast<int64_t>(ids.size()));
  const int64_t windows = static_cast<int64_t>(ids.size()) / size;
  KvCacheOptions kv_options{options.kv_format, 64, (size + 63) / 64};
  OCTET_ASSIGN(KvCache kv, KvCache::Create(model.config(), kv_options));
  Sums sums;
  std::vector<int32_t> window;
  for (int64_t w = 0; w < windows; ++w) {
    const auto part = ids.subspan(static_cast<size_t>(w * size), static_cast<size_t>(size));
    window.assign(part.begin(), part.end());
    if (options.bos >= 0) window[0] = options.bos;
    ScoreWindow(model, window, size / 2, kv, context, sums);
    if (on_window && !on_window(w + 1, windows, sums.Summary(w + 1)))
      return Err(ErrorCode::kCancelled, "stopped");
  }
  return sums.Summary(windows);
}

}  // namespace octet
