#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <utility>

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
  if (o.max_prompt_rows < 0) {
    return Err(ErrorCode::kInvalidArgument,
               "engine: {} prompt rows a step, expected 1 or more, or 0 for as many as fit",
               o.max_prompt_rows);
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

/// Of an answer's token, in prompt tokens: it takes a row of its own and a step of time.
constexpr double kTokenCost = 2;

std::vector<int32_t> EndIds(const Tokenizer& tokenizer, const Request& request) {
  std::vector<int32_t> ids = request.stop_ids;
  const Vocabulary& vocabulary = tokenizer.vocabulary();
  if (vocabulary.eos >= 0) ids.push_back(vocabulary.eos);
  ids.insert(ids.end(), vocabulary.extra_eos.begin(), vocabulary.extra_eos.end());
  return ids;
}

/// Whether the next token is a matter of the sequence and its one row alone: guesses go from row to
/// row, and constraints share what they have found out.
bool ChoosesAlone(const Sequence& s) { return s.draft_rows == 0 && s.constraint == nullptr; }

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
      pages_(std::move(cache), options.keep_prefixes),
      constraints_(tokenizer),
      routing_(model, options.max_batch_tokens) {
  running_.reserve(static_cast<size_t>(options.max_sequences));
  prompts_.reserve(static_cast<size_t>(options.max_sequences));
  decoding_.reserve(static_cast<size_t>(options.max_sequences));
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
  if (request.max_tokens < 0) {
    return Err(ErrorCode::kInvalidArgument, "max_tokens is {}, expected 1 or more",
               request.max_tokens);
  }
  for (const int32_t top : {request.top_logprobs, request.prompt_logprobs}) {
    if (top >= -1 && top <= vocab_size) continue;
    return Err(ErrorCode::kInvalidArgument, "top_logprobs is {}, expected -1 (none) to {}", top,
               vocab_size);
  }
  OCTET_TRY(CheckExperts(request.experts));
  OCTET_TRY(CheckAdapter(request.adapter));
  if (request.session != 0 &&
      (request.experts.any() || request.adapter != 0 || request.prompt_logprobs >= 0)) {
    return Err(ErrorCode::kInvalidArgument,
               "a session's requests choose experts as the model does, and no adapter; their "
               "prompts have no log-probabilities");
  }
  for (const std::string& stop : request.stop_strings) {
    if (stop.empty()) return Err(ErrorCode::kInvalidArgument, "a stop string is empty");
  }
  return {};
}

Status Engine::CheckExperts(const ExpertControls& experts) const {
  const ModelConfig& config = model_.config();
  constexpr int64_t kMaskBits = 64;
  if (!experts.any()) return {};
  if (!config.is_moe()) {
    return Err(ErrorCode::kInvalidArgument, "the model is dense: it has no experts to choose");
  }
  if (experts.top_k < 0 || experts.top_k > config.n_experts) {
    return Err(ErrorCode::kInvalidArgument, "{} experts a token, but the model has {}",
               experts.top_k, config.n_experts);
  }
  if (experts.without.empty()) return {};
  if (static_cast<int64_t>(experts.without.size()) != config.n_layers ||
      config.n_experts > kMaskBits) {
    return Err(ErrorCode::kInvalidArgument,
               "masked experts of {} layers, expected {} layers of at most {} experts",
               experts.without.size(), config.n_layers, kMaskBits);
  }
  const uint64_t all =
      config.n_experts == kMaskBits ? ~uint64_t{0} : (uint64_t{1} << config.n_experts) - 1;
  for (size_t layer = 0; layer < experts.without.size(); ++layer) {
    if ((experts.without[layer] & all) != all) continue;
    return Err(ErrorCode::kInvalidArgument, "all experts of layer {} are masked; leave one", layer);
  }
  return {};
}

Status Engine::CheckAdapter(int32_t adapter) const {
  const int32_t n = options_.adapters == nullptr ? 0 : options_.adapters->size();
  if (adapter >= 0 && adapter <= n) return {};
  return Err(ErrorCode::kInvalidArgument, "adapter {}: expected 0 (none) to {}", adapter, n);
}

uint64_t Engine::PrefixRoot(int32_t adapter) const {
  return adapter == 0 ? 0 : PrefixCache::Root(options_.adapters->fingerprint(adapter));
}

Status Engine::CheckSession(int64_t session) const {
  if (session == 0) return {};
  const auto uses = [&](const auto& s) { return s->request.session == session; };
  if (!pages_.HasSession(session) || std::ranges::any_of(queue_.waiting(), uses) ||
      std::ranges::any_of(running_, uses)) {
    return Err(ErrorCode::kInvalidArgument,
               "session {} is unknown or has a request that is not finished", session);
  }
  return {};
}

Result<uint64_t> Engine::Submit(Request request) {
  const int64_t session = request.session;
  OCTET_ASSIGN(std::unique_ptr<Sequence> sequence, Prepare(std::move(request)));
  OCTET_TRY(CheckSession(session));
  return Submit(std::move(sequence));
}

Result<std::unique_ptr<Sequence>> Engine::Prepare(Request request) const {
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
  if (request.max_tokens == 0) tokens.pop_back();
  const uint64_t id = next_id_.fetch_add(1, std::memory_order_relaxed);
  auto sequence = std::make_unique<Sequence>(
      Sequence{id, std::move(request), std::move(sampler), std::move(answer), std::move(tokens)});
  if (sequence->request.prompt_logprobs >= 0)
    sequence->judged.resize(sequence->request.prompt.size() - 1);
  sequence->prefix_root = PrefixRoot(sequence->request.adapter);
  OCTET_TRY(StartConstraint(*sequence));
  return sequence;
}

Status Engine::StartConstraint(Sequence& s) const {
  const Request& request = s.request;
  if (request.constraint.kind == Constraint::Kind::kNone) return {};
  OCTET_ASSIGN(s.constraint, constraints_.Start(request.constraint, request.at_text_start));
  const int64_t room = std::min(request.max_tokens, options_.max_context - s.length());
  const int64_t least = s.constraint->least_tokens();
  if (least <= room) return {};
  return Err(ErrorCode::kInvalidArgument,
             "the shortest answer that is allowed may take {} tokens, but max_tokens and the "
             "context leave {}",
             least, room);
}

uint64_t Engine::Submit(std::unique_ptr<Sequence> sequence) {
  if (speculator_) speculator_->Prepare(*sequence);
  const uint64_t id = sequence->id;
  queue_.Enter(std::move(sequence));
  return id;
}

/// Ends the requests for which `reason_of` has one; their last events come with the next step.
template <class Reason>
void Engine::FinishWhere(Reason reason_of) {
  const auto finish = [&](Sequence& s) {
    const std::optional<FinishReason> reason = reason_of(s);
    if (!reason) return false;
    Event event;
    event.request = s.id;
    Finish(s, *reason, event);
    queued_.push_back(std::move(event));
    return true;
  };
  std::erase_if(running_, [&](const auto& s) { return finish(*s); });
  for (size_t i = 0; i < queue_.waiting().size();) {
    Sequence* s = queue_.waiting()[i].get();
    if (finish(*s)) {
      queue_.Take(s);
    } else {
      ++i;
    }
  }
}

Status Engine::Cancel(uint64_t request) {
  const int64_t before = stats_.finished;
  FinishWhere([&](const Sequence& s) {
    return s.id == request ? std::optional(FinishReason::kCancelled) : std::nullopt;
  });
  if (stats_.finished > before) return {};
  return Err(ErrorCode::kNotFound, "request {} is finished or was never made", request);
}

/// Who is late, and who asks for nothing that is to be computed.
void Engine::FinishEarly() {
  const auto now = std::chrono::steady_clock::now();
  FinishWhere([&](const Sequence& s) {
    if (s.request.deadline && *s.request.deadline <= now)
      return std::optional(FinishReason::kDeadline);
    const bool nothing = !s.wants_answer() && (s.request.prompt_logprobs < 0 || s.tokens.empty());
    return nothing ? std::optional(FinishReason::kLength) : std::nullopt;
  });
}

std::span<Event> Engine::Step() {
  FinishEarly();
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
  Batch batch{token_, position_, sequence_, logit_rows_};
  if (std::ranges::any_of(controls_, [](const auto* c) { return c != nullptr; })) {
    batch.controls = controls_;
  }
  if (std::ranges::any_of(adapters_, [](int32_t id) { return id != 0; })) {
    batch.adapters = adapters_;
  }
  routing_.BeginStep(std::ranges::any_of(
      running_, [](const auto& s) { return s->request.trace != RoutingTrace::kNone; }));
  const View<float, 2> logits =
      Forward(model_, batch, pages_.source(), {.observer = &routing_}, context);
  TracePrompts();
  UseRows(logits);
  for (int64_t r = 0; r < logits.shape[0];) {
    const LogitRow& owner = logit_owner_[static_cast<size_t>(r)];
    const int64_t rows = owner.judges >= 0 ? 1 : 1 + owner.sequence->draft_rows;
    if (owner.judges < 0) CommitRows(*owner.sequence, r, logits.Rows(r, rows));
    r += rows;
  }
  FinishPrompts();
  for (const auto& s : running_) {
    if (s->kv >= 0) pages_.Publish(*s);
  }
  const auto now = std::chrono::steady_clock::now();
  for (Event& event : events_) event.at = now;
  ++stats_.steps;
  stats_.last_rows = batch.rows();
  stats_.logit_rows += logits.shape[0];
  if (planned_) {
    const std::chrono::duration<double> seconds = now - start;
    speculator_->StepDone(static_cast<int64_t>(rooms_.size()), batch.rows(), seconds.count());
  }
  std::erase_if(running_, [](const auto& s) { return s->kv < 0; });
  return events_;
}

/// Keeps where the rows of prompts went, for requests that want to know. The last one's is told
/// with the token it chooses.
void Engine::TracePrompts() {
  for (const auto& s : running_) {
    if (s->request.trace != RoutingTrace::kPrompt) continue;
    const auto last = static_cast<int32_t>(s->request.prompt.size()) - 1;
    for (size_t row = 0; row < sequence_.size(); ++row) {
      const int32_t position = position_[row];
      if (sequence_[row] != s->kv || position < s->traced_to || position >= last) continue;
      s->traced.push_back(routing_.Row(static_cast<int64_t>(row), position));
      s->traced_to = position + 1;
    }
  }
}

/// Chooses a token from each row while the row's own token was right: `logits` [1 + draft_rows,
/// vocab] of the last token and of the guesses after it, from `first` of the step's.
void Engine::CommitRows(Sequence& s, int64_t first, View<float, 2> logits) {
  const int64_t before = s.length();
  for (int64_t r = 0; r < logits.shape[0]; ++r) {
    // Right guesses are tokens by now, and their keys and values are in the cache.
    s.computed = s.length();
    const auto row = logits[r];
    const bool last = r + 1 == logits.shape[0];
    const auto position = static_cast<int32_t>(s.length()) - 1;
    const std::span<float> values(row.data, static_cast<size_t>(row.shape[0]));
    const int32_t id = ChoosesAlone(s) ? chosen_[static_cast<size_t>(first)] : Choose(s, values);
    Commit(s, id, values);
    Event& event = events_.back();
    event.weight_bytes =
        static_cast<double>(routing_.StepBytes()) / static_cast<double>(token_.size());
    if (s.request.trace != RoutingTrace::kNone) {
      event.routing = std::exchange(s.traced, {});
      event.routing.push_back(routing_.Row(logit_rows_[static_cast<size_t>(first + r)], position));
    }
    if (s.kv < 0 || last || s.tokens.back() != s.draft[static_cast<size_t>(r)].id) break;
  }
  ++s.guesses.steps;
  if (planned_) speculator_->Learn(s, static_cast<int32_t>(s.length() - before));
  if (s.kv >= 0 && s.draft_rows > 0) pages_.RollBack(s);
  if (events_.back().finish) events_.back().guesses = s.guesses;
}

/// All threads choose, and judge prompts, each in other rows.
void Engine::UseRows(View<float, 2> logits) {
  chosen_.resize(logit_owner_.size());
  pool_.ParallelFor(logits.shape[0], [&](int64_t r, int) {
    const LogitRow& owner = logit_owner_[static_cast<size_t>(r)];
    Sequence& s = *owner.sequence;
    const auto row = logits[r];
    const std::span<float> values(row.data, static_cast<size_t>(row.shape[0]));
    if (owner.judges >= 0) return Judge(s, owner.judges, values);
    if (ChoosesAlone(s)) chosen_[static_cast<size_t>(r)] = Choose(s, values);
  });
}

/// The logits of the row at `position` are about the prompt's next token.
void Engine::Judge(Sequence& s, int64_t position, std::span<const float> logits) {
  const auto at = static_cast<size_t>(position);
  PromptToken& token = s.judged[at];
  const double log_sum = LogSumExp(logits);
  const auto id = static_cast<size_t>(s.request.prompt[at + 1]);
  token.logprob = static_cast<float>(logits[id] - log_sum);
  TopLogProbs(logits, log_sum, s.request.prompt_logprobs, token.top);
}

/// Requests without an answer end where their prompt is computed.
void Engine::FinishPrompts() {
  for (const auto& s : running_) {
    if (s->wants_answer() || s->kv < 0 || s->pending() > 0) continue;
    Event& event = events_.emplace_back();
    event.request = s->id;
    event.prompt = std::exchange(s->judged, {});
    stats_.prompt_tokens += static_cast<int64_t>(s->request.prompt.size());
    Finish(*s, FinishReason::kLength, event);
  }
}

void Engine::Commit(Sequence& s, int32_t id, std::span<const float> logits) {
  Event& event = events_.emplace_back();
  event.request = s.id;
  if (id < 0) return Finish(s, FinishReason::kError, event);
  s.tokens.push_back(id);
  event.token = id;
  ++stats_.generated_tokens;
  if (s.answered() == 1) {
    event.prompt = std::exchange(s.judged, {});
    stats_.prompt_tokens += s.length() - 1;
    stats_.prefix_tokens += s.cached_tokens;
  }
  queue_.Charge(s.request.client, kTokenCost);
  if (s.request.top_logprobs >= 0) AddLogProbs(s, logits, event);
  if (s.answer.Push(id, event.text)) {
    Finish(s, FinishReason::kStop, event);
  } else if (s.constraint && s.constraint->finished()) {
    s.answer.Finish(event.text);
    Finish(s, FinishReason::kStop, event);
  } else if (s.answered() >= s.request.max_tokens) {
    Finish(s, FinishReason::kLength, event);
  } else if (s.length() >= options_.max_context) {
    Finish(s, FinishReason::kContext, event);
  }
}

/// The next token, or -1 when none has a finite logit.
int32_t Engine::Choose(Sequence& s, std::span<float> logits) {
  if (!s.constraint) return s.sampler.Sample(logits, s.tokens, s.length());
  const int64_t left =
      std::min(s.request.max_tokens - s.answered(), options_.max_context - s.length());
  const auto ends = s.answer.end_ids();
  const auto allowed = s.constraint->Allowed(left, ends);
  const int32_t id = s.sampler.Sample(logits, s.tokens, s.length(), allowed);
  if (id >= 0 && std::ranges::find(ends, id) == ends.end()) s.constraint->Advance(id);
  return id;
}

void Engine::AddLogProbs(const Sequence& s, std::span<const float> logits, Event& event) {
  const double log_sum = LogSumExp(logits);
  event.logprob = static_cast<float>(logits[static_cast<size_t>(event.token)] - log_sum);
  TopLogProbs(logits, log_sum, s.request.top_logprobs, event.top_logprobs);
}

void Engine::Finish(Sequence& s, FinishReason reason, Event& event) {
  // A stop has given out its text already.
  const bool stopped = reason != FinishReason::kStop && s.answer.Finish(event.text);
  event.finish = stopped ? FinishReason::kStop : reason;
  event.stop = s.answer.stop();
  event.cached_tokens = s.cached_tokens;
  event.guesses = s.guesses;
  if (speculator_) speculator_->Forget(s);
  pages_.Retire(s);
  queue_.Leave(s.request.client);
  ++stats_.finished;
  if (reason == FinishReason::kCancelled || reason == FinishReason::kDeadline) ++stats_.cancelled;
}

PrefixFileHeader Engine::PrefixHeader() const {
  PrefixFileHeader header;
  header.model = ModelFingerprint(model_);
  header.arithmetic = static_cast<uint32_t>(options_.arithmetic);
  header.isa = kernels_.isa;
  header.format = static_cast<uint32_t>(options_.kv_format);
  header.page_tokens = static_cast<uint32_t>(options_.page_tokens);
  header.page_bytes = static_cast<uint64_t>(pages_.page_bytes());
  return header;
}

Result<int64_t> Engine::LoadPrefixes(const std::filesystem::path& path) {
  std::vector<uint64_t> roots;
  const int32_t n = options_.adapters == nullptr ? 0 : options_.adapters->size();
  for (int32_t adapter = 1; adapter <= n; ++adapter) roots.push_back(PrefixRoot(adapter));
  return pages_.LoadPrefixes(path, PrefixHeader(), roots);
}

EngineStats Engine::stats() const {
  EngineStats stats = stats_;
  stats.waiting = queue_.size();
  stats.running = static_cast<int64_t>(running_.size());
  stats.pages = pages_.n_pages();
  stats.free_pages = pages_.free_pages();
  stats.prefix_pages = pages_.prefix_pages();
  stats.prefixes_kept = pages_.prefixes_kept();
  stats.unused_prefix_pages = pages_.unused_prefix_pages();
  return stats;
}

}  // namespace octet
