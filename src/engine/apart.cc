// One text computed for itself, beside the requests.
#include <algorithm>
#include <numeric>
#include <string_view>

#include "engine/engine.h"

namespace octet {
namespace {

/// Adds up the rows that the head reads.
class HiddenSum : public Observer {
 public:
  explicit HiddenSum(int64_t width) : sum_(static_cast<size_t>(width)) {}
  void OnActivation(const char* name, int32_t layer, View<const float, 2> value) override {
    (void)layer;
    if (std::string_view(name) != "final_norm") return;
    for (int64_t row = 0; row < value.shape[0]; ++row) {
      const auto x = value[row];
      for (size_t i = 0; i < sum_.size(); ++i) sum_[i] += x.data[i];
    }
  }
  std::span<const double> sum() const { return sum_; }

 private:
  std::vector<double> sum_;
};

}  // namespace

Status Engine::ForwardApart(std::span<const int32_t> ids, const Apart& apart) {
  OCTET_TRY(CheckPrompt(ids));
  OCTET_TRY(CheckAdapter(apart.adapter));
  const auto n = static_cast<int64_t>(ids.size());
  if (n > options_.max_context) {
    return Err(ErrorCode::kInvalidArgument, "{} tokens, but the context holds {}", n,
               options_.max_context);
  }
  const int64_t pages = (n + options_.page_tokens - 1) / options_.page_tokens;
  OCTET_ASSIGN(KvCache cache,
               KvCache::Create(model_.config(), {options_.kv_format, options_.page_tokens, pages}));
  const int32_t sequence = cache.AddSequence();
  OCTET_TRY(cache.Reserve(sequence, n));
  Context context{pool_, kernels_, scratch_, options_.arithmetic};
  for (int64_t done = 0; done < n;) {
    const int64_t count = std::min<int64_t>(n - done, options_.max_batch_tokens);
    const auto rows = static_cast<size_t>(count);
    std::vector<int32_t> position(rows), sequences(rows, sequence);
    std::vector<int32_t> logit_rows(apart.with_logits ? rows : 0);
    std::iota(position.begin(), position.end(), static_cast<int32_t>(done));
    std::iota(logit_rows.begin(), logit_rows.end(), 0);
    Arena::Scope scope(scratch_);
    Batch batch{ids.subspan(static_cast<size_t>(done), rows), position, sequences, logit_rows};
    const std::vector<int32_t> adapters(apart.adapter == 0 ? 0 : rows, apart.adapter);
    batch.adapters = adapters;
    ForwardOptions options;
    options.observer = apart.observer;
    const View<float, 2> logits = Forward(model_, batch, cache, options, context);
    if (apart.with_logits) apart.each(done, logits);
    done += count;
  }
  return {};
}

Result<std::vector<float>> Engine::AllLogits(std::span<const int32_t> ids) {
  const int64_t vocab_size = model_.config().vocab_size;
  std::vector<float> all;
  Apart apart;
  apart.with_logits = true;
  apart.each = [&](int64_t, View<const float, 2> logits) {
    all.insert(all.end(), logits.data, logits.data + logits.shape[0] * vocab_size);
  };
  OCTET_TRY(ForwardApart(ids, apart));
  return all;
}

Result<std::vector<float>> Engine::MeanHidden(std::span<const int32_t> ids, int32_t adapter) {
  HiddenSum sum(model_.config().d_model);
  Apart apart;
  apart.adapter = adapter;
  apart.observer = &sum;
  OCTET_TRY(ForwardApart(ids, apart));
  std::vector<float> mean;
  for (const double value : sum.sum()) {
    mean.push_back(static_cast<float>(value / static_cast<double>(ids.size())));
  }
  return mean;
}

}  // namespace octet
