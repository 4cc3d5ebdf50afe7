#include "octet/experts.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>

#include "api/guard.h"
#include "api/runtime.h"
#include "base/file.h"
#include "model/forward.h"
#include "model/kv_cache.h"

namespace octet {
namespace {

constexpr std::string_view kDocumentEnd = "\n<|endoftext|>\n";

/// Counts choices, window by window.
class RoutingCounter final : public Observer {
 public:
  explicit RoutingCounter(const ModelConfig& config)
      : experts_(static_cast<size_t>(config.n_experts)),
        load_(static_cast<size_t>(config.n_layers) * experts_),
        same_first_(static_cast<size_t>(config.n_layers)),
        same_any_(static_cast<size_t>(config.n_layers)) {}

  void OnRouting(int32_t layer, View<const int32_t, 2> experts, View<const float, 2>) override {
    const auto l = static_cast<size_t>(layer);
    const int64_t rows = experts.shape[0], k = experts.shape[1];
    for (int64_t t = 0; t < rows; ++t) {
      const int32_t* chosen = experts[t].data;
      for (int64_t i = 0; i < k; ++i) ++load_[l * experts_ + static_cast<size_t>(chosen[i])];
      if (t == 0) continue;
      const int32_t* before = experts[t - 1].data;
      if (chosen[0] == before[0]) ++same_first_[l];
      if (std::find_first_of(chosen, chosen + k, before, before + k) != chosen + k) ++same_any_[l];
    }
    if (layer != 0) return;
    tokens_ += rows;
    pairs_ += rows - 1;
  }

  ExpertDomain Finish(std::string name) const {
    ExpertDomain domain;
    domain.name = std::move(name);
    domain.tokens = tokens_;
    for (const int64_t n : load_) domain.load.push_back(Share(n, tokens_));
    for (const int64_t n : same_first_) domain.same_first.push_back(Share(n, pairs_));
    for (const int64_t n : same_any_) domain.same_any.push_back(Share(n, pairs_));
    return domain;
  }
  int64_t tokens() const { return tokens_; }

 private:
  static double Share(int64_t n, int64_t of) {
    return static_cast<double>(n) / static_cast<double>(std::max<int64_t>(of, 1));
  }
  size_t experts_;
  int64_t tokens_ = 0, pairs_ = 0;
  std::vector<int64_t> load_, same_first_, same_any_;
};

class Study {
 public:
  Study(const ExpertStudyOptions& options, Runtime& runtime)
      : options_(options),
        runtime_(runtime),
        window_(std::min(options.context, runtime.model->config().context_len)) {}

  Status Start() {
    OCTET_ASSIGN(tokenizer_, runtime_.LoadTokenizer());
    return {};
  }

  Result<ExpertDomain> Text(const std::string& spec) {
    const size_t equals = spec.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == spec.size()) {
      return Err(ErrorCode::kInvalidArgument, "text \"{}\": expected NAME=PATH", spec);
    }
    OCTET_ASSIGN(const std::string text, ReadTextFile(spec.substr(equals + 1)));
    RoutingCounter counter(runtime_.model->config());
    OCTET_ASSIGN(KvCache kv, KvCache::Create(runtime_.model->config(),
                                             {Format::kF16, 64, (window_ + 63) / 64}));
    for (size_t first = 0; first < text.size() && !Enough(counter);) {
      const size_t end = std::min(text.find(kDocumentEnd, first), text.size());
      OCTET_TRY(Document(std::string_view(text).substr(first, end - first), kv, counter));
      first = end + kDocumentEnd.size();
    }
    if (counter.tokens() < 2) {
      return Err(ErrorCode::kInvalidArgument, "{}: has {} tokens, at least 2 are needed",
                 spec.substr(equals + 1), counter.tokens());
    }
    return counter.Finish(spec.substr(0, equals));
  }

 private:
  bool Enough(const RoutingCounter& counter) const {
    return options_.max_tokens > 0 && counter.tokens() >= options_.max_tokens;
  }

  Status Document(std::string_view text, KvCache& kv, RoutingCounter& counter) {
    std::vector<int32_t> ids = tokenizer_->Encode(text);
    const Vocabulary& vocabulary = tokenizer_->vocabulary();
    if (vocabulary.add_bos && vocabulary.bos >= 0) ids.insert(ids.begin(), vocabulary.bos);
    const auto n = static_cast<int64_t>(ids.size());
    for (int64_t first = 0; first + 1 < n && !Enough(counter); first += window_) {
      const auto count = static_cast<size_t>(std::min(window_, n - first));
      OCTET_TRY(Window(std::span(ids).subspan(static_cast<size_t>(first), count), kv, counter));
    }
    return {};
  }

  Status Window(std::span<const int32_t> ids, KvCache& kv, RoutingCounter& counter) {
    Context context = runtime_.MakeContext();
    const int32_t vocab = static_cast<int32_t>(runtime_.model->config().vocab_size);
    for (const int32_t id : ids) {
      if (id < 0 || id >= vocab)
        return Err(ErrorCode::kCorrupt, "the tokenizer gave {}, the model's ids are 0 to {}", id,
                   vocab - 1);
    }
    std::vector<int32_t> positions(ids.size());
    std::iota(positions.begin(), positions.end(), 0);
    const int32_t sequence = kv.AddSequence();
    OCTET_TRY(kv.Reserve(sequence, static_cast<int64_t>(ids.size())));
    const std::vector<int32_t> sequences(ids.size(), sequence);
    const Arena::Scope scope(context.scratch);
    Forward(*runtime_.model, {ids, positions, sequences, {}}, kv, {&counter}, context);
    kv.RemoveSequence(sequence);
    return {};
  }

  const ExpertStudyOptions& options_;
  Runtime& runtime_;
  int64_t window_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

/// That two draws of k of n have none in common.
double NoneInCommon(int64_t n, int64_t k) {
  double p = 1;
  for (int64_t i = 0; i < k; ++i)
    p *= static_cast<double>(std::max<int64_t>(n - k - i, 0)) / static_cast<double>(n - i);
  return p;
}

}  // namespace

Result<ExpertStudy> StudyExperts(const ExpertStudyOptions& options,
                                 const std::function<void(const std::string&)>& on_text) {
  return Guarded([&]() -> Result<ExpertStudy> {
    if (options.context < 2) {
      return Err(ErrorCode::kInvalidArgument, "context {}: expected at least 2", options.context);
    }
    OCTET_ASSIGN(const std::unique_ptr<Runtime> runtime,
                 Runtime::Load(options.model, {"", options.threads}));
    const ModelConfig& config = runtime->model->config();
    if (!config.is_moe()) {
      return Err(ErrorCode::kInvalidArgument,
                 "a dense model has no experts to study; give a mixture of experts");
    }
    ExpertStudy study;
    study.layers = static_cast<int32_t>(config.n_layers);
    study.experts = static_cast<int32_t>(config.n_experts);
    study.experts_per_token = static_cast<int32_t>(config.n_experts_per_token);
    study.random_first = 1 / static_cast<double>(config.n_experts);
    study.random_any = 1 - NoneInCommon(config.n_experts, config.n_experts_per_token);
    Study work(options, *runtime);
    OCTET_TRY(work.Start());
    for (const std::string& text : options.texts) {
      if (on_text) on_text(text);
      OCTET_ASSIGN(ExpertDomain domain, work.Text(text));
      study.domains.push_back(std::move(domain));
    }
    return study;
  });
}

}  // namespace octet
