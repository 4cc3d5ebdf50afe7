#include "engine/model_drafter.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "sample/log_probs.h"

namespace octet {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void Learn(double& mean, double seconds) {
  mean = mean <= 0 ? seconds : mean + (seconds - mean) / 8;
}

/// Rows that go along with the first guess's: all that is missing after a step in which every guess
/// was right.
constexpr int64_t kLastRows = 4;

}  // namespace

Status CheckSameVocabulary(const Tokenizer& tokenizer, const Tokenizer& draft) {
  const int32_t n = tokenizer.vocab_size();
  if (draft.vocab_size() != n) {
    return Err(ErrorCode::kInvalidArgument,
               "the draft model's vocabulary has {} tokens, the model's has {}; a draft model must "
               "share the vocabulary: choose a smaller model of the same family",
               draft.vocab_size(), n);
  }
  for (int32_t id = 0; id < n; ++id) {
    if (tokenizer.TokenBytes(id) == draft.TokenBytes(id)) continue;
    return Err(ErrorCode::kInvalidArgument,
               "token {} is \"{}\" to the draft model and \"{}\" to the model; a draft model must "
               "share the vocabulary: choose a smaller model of the same family",
               id, draft.TokenBytes(id), tokenizer.TokenBytes(id));
  }
  return {};
}

Result<std::unique_ptr<ModelDrafter>> ModelDrafter::Create(const Model& model,
                                                           const ModelDrafterOptions& options) {
  if (model.config().vocab_size != options.vocab_size) {
    return Err(ErrorCode::kInvalidArgument,
               "the draft model has {} logits, the model has {}; a draft model must share the "
               "vocabulary: choose a smaller model of the same family",
               model.config().vocab_size, options.vocab_size);
  }
  const int64_t pages = (options.max_context + options.page_tokens - 1) / options.page_tokens;
  OCTET_ASSIGN(KvCache cache,
               KvCache::Create(model.config(), {options.kv_format, options.page_tokens,
                                                pages * options.max_sequences}));
  return std::unique_ptr<ModelDrafter>(new ModelDrafter(model, options, std::move(cache)));
}

ModelDrafter::ModelDrafter(const Model& model, const ModelDrafterOptions& options, KvCache cache)
    : model_(model),
      options_(options),
      cache_(std::move(cache)),
      texts_(static_cast<size_t>(options.max_sequences)),
      round_s_(static_cast<size_t>(options.max_sequences) + 1, 0.0) {
  for (Text& text : texts_) {
    text.kv = cache_.AddSequence();
    text.tokens.reserve(static_cast<size_t>(options.max_context) + kMostDraft);
  }
}

double ModelDrafter::FirstRate(int32_t evidence) const {
  // The evidence is the smaller model's own belief in tenths; such models believe too much.
  return 0.9 * std::min(0.1 * evidence + 0.05, 0.98);
}

double ModelDrafter::RoundSeconds(int64_t sequences) const {
  const auto n = static_cast<size_t>(sequences);
  return n < round_s_.size() && round_s_[n] > 0 ? round_s_[n] : -1.0;
}

const ModelDrafter::Text* ModelDrafter::Find(uint64_t sequence) const {
  const auto found = std::find_if(texts_.begin(), texts_.end(),
                                  [&](const Text& text) { return text.sequence == sequence; });
  return found == texts_.end() ? nullptr : &*found;
}

double ModelDrafter::CatchUpSeconds(uint64_t sequence, int64_t tokens) const {
  const Text* text = Find(sequence);
  const auto known = text == nullptr ? 0 : static_cast<int64_t>(text->tokens.size());
  const int64_t missing = tokens - known;
  return missing <= kLastRows ? 0.0 : static_cast<double>(missing) * row_s_;
}

void ModelDrafter::Forget(uint64_t sequence) {
  for (Text& text : texts_) {
    if (text.sequence == sequence) text.sequence = 0;
  }
}

/// The sequence's own text, or the one of those that are over which begins most like it.
ModelDrafter::Text* ModelDrafter::Take(const DraftJob& job) {
  Text* best = nullptr;
  std::ptrdiff_t best_common = -1;
  for (Text& text : texts_) {
    if (text.sequence == job.sequence) return &text;
    if (text.sequence != 0) continue;
    const auto [mine, theirs] =
        std::mismatch(text.tokens.begin(), text.tokens.end(), job.tokens.begin(), job.tokens.end());
    const std::ptrdiff_t common = mine - text.tokens.begin();
    const bool older = best != nullptr && text.last_use < best->last_use;
    if (common < best_common || (common == best_common && !older)) continue;
    best = &text;
    best_common = common;
  }
  if (best == nullptr) return nullptr;
  best->sequence = job.sequence;
  best->sampler = *job.sampler;
  return best;
}

void ModelDrafter::AddRow(Text& text, int32_t token) {
  token_.push_back(token);
  position_.push_back(static_cast<int32_t>(text.tokens.size()));
  sequence_.push_back(text.kv);
  text.tokens.push_back(token);
}

bool ModelDrafter::CatchUp(const DraftJob& job, Text& text, Context& context) {
  // What was rejected, or belongs to an older text, goes; the last token is computed anew, as its
  // logits are wanted.
  const auto end = static_cast<int64_t>(job.tokens.size());
  const auto [mine, theirs] =
      std::mismatch(text.tokens.begin(), text.tokens.end(), job.tokens.begin(), job.tokens.end());
  int64_t known = std::min<int64_t>(mine - text.tokens.begin(), end - 1);
  cache_.Truncate(text.kv, known);
  text.tokens.resize(static_cast<size_t>(known));
  // Other texts' leftovers give way.
  while (!cache_.Reserve(text.kv, end + job.most)) {
    Text* oldest = nullptr;
    for (Text& other : texts_) {
      if (other.sequence != 0 || other.tokens.empty()) continue;
      if (oldest == nullptr || other.last_use < oldest->last_use) oldest = &other;
    }
    if (oldest == nullptr) return false;
    cache_.Truncate(oldest->kv, 0);
    oldest->tokens.clear();
  }
  if (end - known <= kLastRows) return true;
  const auto start = Clock::now();
  const int64_t first = known;
  while (known < end - 1) {
    const int64_t count = std::min<int64_t>(end - 1 - known, options_.max_batch_tokens);
    for (int64_t i = 0; i < count; ++i) AddRow(text, job.tokens[static_cast<size_t>(known + i)]);
    Arena::Scope scope(context.scratch);
    Forward(model_, {token_, position_, sequence_, {}}, cache_, {}, context);
    token_.clear(), position_.clear(), sequence_.clear();
    known += count;
  }
  const double seconds = SecondsSince(start);
  catch_up_s_ += seconds;
  Learn(row_s_, seconds / static_cast<double>(known - first));
  return true;
}

double ModelDrafter::Draft(std::span<const DraftJob> jobs, Context& context) {
  active_.clear();
  catch_up_s_ = 0;
  for (const DraftJob& job : jobs) {
    job.draft->clear();
    if (job.most <= 0) continue;
    Text* text = Take(job);
    if (text == nullptr || !CatchUp(job, *text, context)) continue;
    text->last_use = ++clock_;
    text->sampler->Follow(*job.sampler);
    active_.push_back({&job, text, 1.0});
  }
  for (const Active& active : active_) {
    const std::span<const int32_t> tokens = active.job->tokens;
    for (size_t i = active.text->tokens.size(); i < tokens.size(); ++i) {
      AddRow(*active.text, tokens[i]);
    }
    logit_rows_.push_back(static_cast<int32_t>(token_.size()) - 1);
  }
  while (!active_.empty()) Round(context);
  return catch_up_s_;
}

void ModelDrafter::Round(Context& context) {
  const auto start = Clock::now();
  const size_t sequences = active_.size();
  Arena::Scope scope(context.scratch);
  const View<float, 2> logits =
      Forward(model_, {token_, position_, sequence_, logit_rows_}, cache_, {}, context);
  token_.clear(), position_.clear(), sequence_.clear(), logit_rows_.clear();
  size_t going_on = 0;
  for (size_t i = 0; i < sequences; ++i) {
    const auto row = logits[static_cast<int64_t>(i)];
    if (!Guess(active_[i], {row.data, static_cast<size_t>(row.shape[0])})) continue;
    active_[going_on++] = active_[i];
  }
  active_.resize(going_on);
  for (const Active& active : active_) {
    AddRow(*active.text, active.job->draft->back().id);
    logit_rows_.push_back(static_cast<int32_t>(token_.size()) - 1);
  }
  Learn(round_s_[sequences], SecondsSince(start));
}

/// Adds a guess; true when another one shall follow it.
bool ModelDrafter::Guess(Active& active, std::span<float> logits) {
  const DraftJob& job = *active.job;
  const Text& text = *active.text;
  const int32_t id =
      active.text->sampler->Sample(logits, text.tokens, static_cast<int64_t>(text.tokens.size()));
  if (id < 0) return false;
  const double belief =
      std::exp(static_cast<double>(logits[static_cast<size_t>(id)]) - LogSumExp(logits));
  job.draft->push_back({id, std::clamp(static_cast<int32_t>(belief * 10), 0, 10)});
  if (belief > 0.99) job.draft->back().evidence = 10;
  active.chance *= belief;
  return static_cast<int32_t>(job.draft->size()) < job.most && active.chance >= job.least_chance;
}

}  // namespace octet
