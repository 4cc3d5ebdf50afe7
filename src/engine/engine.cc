#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "base/check.h"
#include "cpu/isa.h"
#include "sample/log_probs.h"

namespace octet {
namespace {

Status CheckOptions(const EngineOptions& o) {
  if (o.max_sequences < 1 || o.max_batch_tokens < o.max_sequences) {
    return Err(ErrorCode::kInvalidArgument,
               "engine: {} sequences in batches of {} tokens; expected at least one sequence, and "
               "batches of at least as many tokens as sequences",
               o.max_sequences, o.max_batch_tokens);
  }
  if (o.page_tokens < 1 || o.max_context < 0 || o.kv_pages < 0) {
    return Err(ErrorCode::kInvalidArgument,
               "engine: pages of {} tokens, a context of {}, {} pages; expected positive numbers",
               o.page_tokens, o.max_context, o.kv_pages);
  }
  constexpr int64_t kLargestContext = int64_t{1} << 24;  // positions are int32, with room to add
  if (o.max_context > kLargestContext) {
    return Err(ErrorCode::kInvalidArgument, "engine: a context of {} tokens, at most {} work",
               o.max_context, kLargestContext);
  }
  return {};
}

std::vector<int32_t> EndIds(const Tokenizer& tokenizer, const Request& request) {
  std::vector<int32_t> ids = request.stop_ids;
  const Vocabulary& vocabulary = tokenizer.vocabulary();
  if (vocabulary.eos >= 0) ids.push_back(vocabulary.eos);
  ids.insert(ids.end(), vocabulary.extra_eos.begin(), vocabulary.extra_eos.end());
  return ids;
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::Create(const Model& model, const Tokenizer& tokenizer,
                                               const EngineOptions& options) {
  EngineOptions o = options;
  OCTET_TRY(CheckOptions(o));
  if (o.max_context == 0) o.max_context = model.config().context_len;
  const int64_t pages_each = (o.max_context + o.page_tokens - 1) / o.page_tokens;
  if (o.kv_pages == 0) o.kv_pages = pages_each * o.max_sequences;
  // One sequence alone always fits, so that waiting for pages ends.
  o.max_context = std::min(o.max_context, o.kv_pages * o.page_tokens);
  OCTET_ASSIGN(const uint32_t isa, SelectIsaFromEnvironment());
  OCTET_ASSIGN(KvCache cache,
               KvCache::Create(model.config(), {o.kv_format, o.page_tokens, o.kv_pages}));
  return std::unique_ptr<Engine>(
      new Engine(model, tokenizer, o, SelectKernels(isa), std::move(cache)));
}

Engine::Engine(const Model& model, const Tokenizer& tokenizer, const EngineOptions& options,
               const KernelTable& kernels, KvCache cache)
    : model_(model),
      tokenizer_(tokenizer),
      options_(options),
      kernels_(kernels),
      pool_(options.threads),
      pages_(std::move(cache)) {
  if (!options.speculation.drafter) return;
  speculator_ = std::make_unique<Speculator>(options.speculation, model, options.max_sequences);
  rooms_.reserve(static_cast<size_t>(options.max_sequences));
}

Status Engine::CheckPrompt(std::span<const int32_t> prompt) const {
  const auto vocab_size = static_cast<int32_t>(model_.config().vocab_size);
  if (prompt.empty()) {
    return Err(ErrorCode::kInvalidArgument, "the prompt is empty; give at least one token (BOS)");
  }
  for (const int32_t id : prompt) {
    if (id < 0 || id >= vocab_size) {
      return Err(ErrorCode::kInvalidArgument,
                 "the prompt has token {}, but the model's ids are 0 to {}", id, vocab_size - 1);
    }
  }
  return {};
}

Status Engine::CheckRequest(const Request& request) const {
  OCTET_TRY(CheckPrompt(request.prompt));
  const auto vocab_size = static_cast<int32_t>(model_.config().vocab_size);
  if (static_cast<int64_t>(request.prompt.size()) >= options_.max_context) {
    return Err(ErrorCode::kInvalidArgument,
               "the prompt has {} tokens, but the context holds {} and the answer needs room; "
               "shorten the prompt or use a larger context",
               request.prompt.size(), options_.max_context);
  }
  if (request.max_tokens < 1) {
    return Err(ErrorCode::kInvalidArgument, "max_tokens is {}, expected 1 or more",
               request.max_tokens);
  }
  if (request.top_logprobs < -1 || request.top_logprobs > vocab_size) {
    return Err(ErrorCode::kInvalidArgument, "top_logprobs is {}, expected -1 (none) to {}",
               request.top_logprobs, vocab_size);
  }
  for (const std::string& stop : request.stop_strings) {
    if (stop.empty()) return Err(ErrorCode::kInvalidArgument, "a stop string is empty");
  }
  if (request.session == 0) return {};
  const auto uses = [&](const auto& s) { return s->request.session == request.session; };
  if (!pages_.HasSession(request.session) || std::any_of(waiting_.begin(), waiting_.end(), uses) ||
      std::any_of(running_.begin(), running_.end(), uses)) {
    return Err(ErrorCode::kInvalidArgument,
               "session {} is unknown or has a request that is not finished", request.session);
  }
  return {};
}

Result<uint64_t> Engine::Submit(Request request) {
  OCTET_TRY(CheckRequest(request));
  const auto vocab_size = static_cast<int32_t>(model_.config().vocab_size);
  SamplerVocabulary vocabulary{vocab_size, EndIds(tokenizer_, request), {}};
  std::erase_if(vocabulary.end_ids, [&](int32_t id) { return id < 0 || id >= vocab_size; });
  if (request.sampling.dry_multiplier > 0) {
    OCTET_ASSIGN(vocabulary.dry_breaker_ids,
                 DryBreakerIds(tokenizer_, request.sampling.dry_sequence_breakers));
    std::erase_if(vocabulary.dry_breaker_ids, [&](int32_t id) { return id >= vocab_size; });
  }
  OCTET_ASSIGN(Sampler sampler, Sampler::Create(request.sampling, vocabulary));
  AnswerText answer(tokenizer_, request, vocabulary.end_ids);
  std::vector<int32_t> tokens = request.prompt;
  // All of the answer's room at once, so that steps do not allocate.
  const auto room = options_.max_context - static_cast<int64_t>(tokens.size());
  tokens.reserve(tokens.size() + static_cast<size_t>(std::min(request.max_tokens, room)));
  waiting_.push_back(std::make_unique<Sequence>(Sequence{
      next_id_, std::move(request), std::move(sampler), std::move(answer), std::move(tokens)}));
  if (speculator_) speculator_->Prepare(*waiting_.back());
  return next_id_++;
}

Status Engine::Cancel(uint64_t request) {
  const auto is_it = [&](const auto& s) { return s->id == request; };
  Event event;
  event.request = request;
  if (auto it = std::find_if(running_.begin(), running_.end(), is_it); it != running_.end()) {
    Finish(**it, FinishReason::kCancelled, event);
    running_.erase(it);
  } else if (auto w = std::find_if(waiting_.begin(), waiting_.end(), is_it); w != waiting_.end()) {
    Finish(**w, FinishReason::kCancelled, event);
    waiting_.erase(w);
  } else {
    return Err(ErrorCode::kNotFound, "request {} is finished or was never made", request);
  }
  queued_.push_back(std::move(event));
  return {};
}

std::span<const Event> Engine::Step() {
  events_.clear();
  std::swap(events_, queued_);
  MakeRoomForDecode();
  AdmitWaiting();
  Context context{pool_, kernels_, scratch_, options_.arithmetic};
  const auto start = std::chrono::steady_clock::now();
  planned_ = speculator_ && PlanDrafts(context);
  BuildBatch();
  if (token_.empty()) return events_;

  Arena::Scope scope(scratch_);
  const Batch batch{token_, position_, sequence_, logit_rows_};
  const View<float, 2> logits = Forward(model_, batch, pages_.source(), {}, context);
  for (int64_t r = 0; r < logits.shape[0];) {
    Sequence& s = *row_owner_[static_cast<size_t>(r)];
    const int64_t rows = 1 + s.draft_rows;
    CommitRows(s, logits.Rows(r, rows));
    r += rows;
  }
  if (planned_) {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    speculator_->StepDone(static_cast<int64_t>(rooms_.size()), batch.rows(), seconds.count());
  }
  std::erase_if(running_, [](const auto& s) { return s->kv < 0; });
  return events_;
}

void Engine::AdmitWaiting() {
  while (!waiting_.empty() && static_cast<int32_t>(running_.size()) < options_.max_sequences) {
    if (!pages_.Admit(*waiting_.front())) {
      CHECK(!running_.empty());  // the cache holds max_context, which every sequence fits
      return;
    }
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

/// Every sequence that decodes gets room for its next token; when pages run out, the newest give
/// theirs.
void Engine::MakeRoomForDecode() {
  for (size_t i = 0; i < running_.size(); ++i) {
    while (i < running_.size() && running_[i]->pending() == 1 && !pages_.Grow(*running_[i])) {
      PreemptNewest();
    }
  }
}

void Engine::PreemptNewest() {
  pages_.Evict(*running_.back());
  if (speculator_) speculator_->Forget(*running_.back());
  waiting_.push_front(std::move(running_.back()));
  running_.pop_back();
  ++preemptions_;
}

/// Guesses for a step in which every row decodes; false for other steps, which have none. They take
/// room that nobody else wants.
bool Engine::PlanDrafts(Context& context) {
  rooms_.clear();
  for (const auto& s : running_) {
    s->draft_rows = 0;
    if (s->pending() == 1) rooms_.push_back({s.get(), 0});
  }
  if (rooms_.empty() || rooms_.size() != running_.size()) return false;
  const auto n = static_cast<int64_t>(rooms_.size());
  for (Speculator::Room& room : rooms_) {
    Sequence& s = *room.sequence;
    // The last token an answer may have needs no guess, as it needs no keys and values.
    const int64_t tokens_left = s.request.max_tokens - s.answered() - 1;
    const int64_t context_left = options_.max_context - s.length() - 1;
    const int64_t rows_left = (options_.max_batch_tokens - n) / n;
    room.most = static_cast<int32_t>(
        std::clamp<int64_t>(std::min({tokens_left, context_left, rows_left}), 0, kMostDraft));
  }
  speculator_->Plan(rooms_, context);
  for (const Speculator::Room& room : rooms_) {
    Sequence& s = *room.sequence;
    if (s.draft_rows > 0 && !pages_.GrowIfFree(s, s.length() + s.draft_rows)) s.draft_rows = 0;
  }
  return true;
}

void Engine::BuildBatch() {
  token_.clear();
  position_.clear();
  sequence_.clear();
  logit_rows_.clear();
  row_owner_.clear();
  for (const auto& s : running_) {
    if (s->pending() != 1) continue;
    AddRows(*s, 1);
    AddDraftRows(*s);
  }
  for (const auto& s : running_) {
    const int64_t room = options_.max_batch_tokens - static_cast<int64_t>(token_.size());
    if (s->pending() > 1 && room > 0) AddRows(*s, std::min(s->pending(), room));
  }
}

void Engine::AddRows(Sequence& s, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    token_.push_back(s.tokens[static_cast<size_t>(s.computed)]);
    position_.push_back(static_cast<int32_t>(s.computed));
    sequence_.push_back(s.kv);
    ++s.computed;
  }
  if (s.pending() > 0) return;
  logit_rows_.push_back(static_cast<int32_t>(token_.size()) - 1);
  row_owner_.push_back(&s);
}

/// Guesses follow the sequence's last token, each with logits of its own.
void Engine::AddDraftRows(Sequence& s) {
  for (int32_t i = 0; i < s.draft_rows; ++i) {
    logit_rows_.push_back(static_cast<int32_t>(token_.size()));
    row_owner_.push_back(&s);
    token_.push_back(s.draft[static_cast<size_t>(i)].id);
    position_.push_back(static_cast<int32_t>(s.computed + i));
    sequence_.push_back(s.kv);
  }
}

/// Chooses a token from each row while the row's own token was right: `logits` [1 + draft_rows,
/// vocab] of the last token and of the guesses after it.
void Engine::CommitRows(Sequence& s, View<const float, 2> logits) {
  const int64_t before = s.length();
  for (int64_t r = 0; r < logits.shape[0]; ++r) {
    // Right guesses are tokens by now, and their keys and values are in the cache.
    s.computed = s.length();
    const auto row = logits[r];
    const bool last = r + 1 == logits.shape[0];
    Commit(s, {row.data, static_cast<size_t>(row.shape[0])});
    if (s.kv < 0 || last || s.tokens.back() != s.draft[static_cast<size_t>(r)].id) break;
  }
  ++s.guesses.steps;
  if (planned_) speculator_->Learn(s, static_cast<int32_t>(s.length() - before));
  if (s.kv >= 0 && s.draft_rows > 0) pages_.RollBack(s);
  if (events_.back().finish) events_.back().guesses = s.guesses;
}

void Engine::Commit(Sequence& s, std::span<const float> logits) {
  Event& event = events_.emplace_back();
  event.request = s.id;
  const int32_t id = s.sampler.Sample(logits, s.tokens, s.length());
  if (id < 0) return Finish(s, FinishReason::kError, event);
  s.tokens.push_back(id);
  event.token = id;
  if (s.request.top_logprobs >= 0) AddLogProbs(s, logits, event);
  if (s.answer.Push(id, event.text)) {
    Finish(s, FinishReason::kStop, event);
  } else if (s.answered() >= s.request.max_tokens) {
    Finish(s, FinishReason::kLength, event);
  } else if (s.length() >= options_.max_context) {
    Finish(s, FinishReason::kContext, event);
  }
}

void Engine::AddLogProbs(const Sequence& s, std::span<const float> logits, Event& event) const {
  const double log_sum = LogSumExp(logits);
  event.logprob = static_cast<float>(logits[static_cast<size_t>(event.token)] - log_sum);
  TopLogProbs(logits, log_sum, s.request.top_logprobs, event.top_logprobs);
}

void Engine::Finish(Sequence& s, FinishReason reason, Event& event) {
  // A stop has given out its text already.
  const bool stopped = reason != FinishReason::kStop && s.answer.Finish(event.text);
  event.finish = stopped ? FinishReason::kStop : reason;
  event.cached_tokens = s.cached_tokens;
  event.guesses = s.guesses;
  if (speculator_) speculator_->Forget(s);
  pages_.Retire(s);
}

Result<std::vector<float>> Engine::AllLogits(std::span<const int32_t> ids) {
  OCTET_TRY(CheckPrompt(ids));
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
  const int64_t vocab_size = model_.config().vocab_size;
  std::vector<float> all(static_cast<size_t>(n * vocab_size));
  Context context{pool_, kernels_, scratch_, options_.arithmetic};
  for (int64_t done = 0; done < n;) {
    const int64_t count = std::min<int64_t>(n - done, options_.max_batch_tokens);
    const auto rows = static_cast<size_t>(count);
    std::vector<int32_t> position(rows), logit_rows(rows), sequences(rows, sequence);
    std::iota(position.begin(), position.end(), static_cast<int32_t>(done));
    std::iota(logit_rows.begin(), logit_rows.end(), 0);
    Arena::Scope scope(scratch_);
    const Batch batch{ids.subspan(static_cast<size_t>(done), rows), position, sequences,
                      logit_rows};
    const View<float, 2> logits = Forward(model_, batch, cache, {}, context);
    std::copy_n(logits.data, count * vocab_size, all.begin() + done * vocab_size);
    done += count;
  }
  return all;
}

}  // namespace octet
