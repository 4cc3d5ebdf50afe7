// What the next step computes, and who gets the pages for it.
#include <algorithm>

#include "base/check.h"
#include "engine/engine.h"

namespace octet {

void Engine::AdmitWaiting() {
  while (static_cast<int32_t>(running_.size()) < options_.max_sequences) {
    Sequence* next = queue_.Next();
    if (next == nullptr) return;
    // Room for another page for everybody who runs: a sequence that is admitted into the last pages
    // would only be sent back.
    if (!pages_.Admit(*next, static_cast<int64_t>(running_.size()))) {
      CHECK(!running_.empty());  // the cache holds max_context, which every sequence fits
      return;
    }
    running_.push_back(queue_.Take(next));
  }
}

/// Every sequence that decodes gets room for its next token.
void Engine::MakeRoomForDecode() {
  for (size_t i = 0; i < running_.size();) {
    if (running_[i]->pending() != 1 || pages_.Grow(*running_[i])) {
      ++i;
      continue;
    }
    const size_t victim = Victim();
    Preempt(victim);
    if (victim < i) --i;
  }
}

/// Who gives up its pages: of the lowest priority the one that was admitted last.
size_t Engine::Victim() const {
  size_t victim = running_.size() - 1;
  for (size_t i = victim; i-- > 0;) {
    if (running_[i]->request.priority < running_[victim]->request.priority) victim = i;
  }
  return victim;
}

void Engine::Preempt(size_t index) {
  Sequence& s = *running_[index];
  pages_.Evict(s);
  if (speculator_) speculator_->Forget(s);
  queue_.Return(std::move(running_[index]));
  running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(index));
  ++stats_.preemptions;
}

/// Guesses for a step in which every row decodes; false for other steps, which have none. They take
/// room that nobody else wants.
bool Engine::PlanDrafts(Context& context) {
  rooms_.clear();
  for (const auto& s : running_) {
    s->draft_rows = 0;
    if (s->pending() == 1 && s->wants_answer()) rooms_.push_back({s.get(), 0});
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

/// Whoever decodes has a row in every step, those of one adapter together; prompts share what is
/// left.
void Engine::BuildBatch() {
  token_.clear();
  position_.clear();
  sequence_.clear();
  controls_.clear();
  adapters_.clear();
  decoding_.clear();
  logit_rows_.clear();
  logit_owner_.clear();
  for (const auto& s : running_) {
    if (s->pending() == 1) decoding_.push_back(s.get());
  }
  if (options_.adapters != nullptr) {
    std::ranges::sort(decoding_, {},
                      [](const Sequence* s) { return std::pair(s->request.adapter, s->id); });
  }
  for (Sequence* s : decoding_) {
    AddRows(*s, 1);
    AddDraftRows(*s);
  }
  int64_t budget = options_.max_batch_tokens - static_cast<int64_t>(token_.size());
  if (!decoding_.empty() && options_.max_prompt_rows > 0) {
    budget = std::min<int64_t>(budget, options_.max_prompt_rows);
  }
  if (decoding_.size() < running_.size()) AddPromptRows(budget);
  stats_.last_sequences =
      std::ranges::count_if(logit_owner_, [](const LogitRow& row) { return row.judges < 0; });
  if (!token_.empty()) stats_.batches.Add(stats_.last_sequences);
}

/// Whether a prompt before this one in the step computes the page this one needs next.
bool Engine::WaitsForAnother(const Sequence& s) const {
  if (!options_.keep_prefixes || s.computed % options_.page_tokens != 0) return false;
  const auto page = static_cast<size_t>(s.computed / options_.page_tokens);
  if (page >= s.page_hash.size()) return false;
  const int64_t page_end = s.computed + options_.page_tokens;
  return std::ranges::any_of(prompts_, [&](const PromptShare& other) {
    const Sequence& o = *other.sequence;
    return o.computed < page_end && page < o.page_hash.size() &&
           o.page_hash[page] == s.page_hash[page];
  });
}

/// Half of the rows, or more where others need less, go to the prompt that was admitted first, so
/// that it gets done; the rest to the others, the shortest first, so that few wait long.
void Engine::AddPromptRows(int64_t budget) {
  prompts_.clear();
  for (const auto& s : running_) {
    if (s->pending() == 1) continue;
    pages_.SkipComputed(*s);
    if (s->pending() > 0 && !WaitsForAnother(*s)) prompts_.push_back({s.get(), 0});
  }
  if (prompts_.empty()) return;
  PromptShare first = prompts_.front();
  first.rows = std::min(first.sequence->pending(), (budget + 1) / 2);
  budget -= first.rows;
  const auto others = std::span(prompts_).subspan(1);
  std::ranges::sort(others, {}, [](const PromptShare& p) {
    return std::pair(p.sequence->pending(), p.sequence->id);
  });
  for (PromptShare& p : others) {
    p.rows = std::min(p.sequence->pending(), budget);
    budget -= p.rows;
  }
  first.rows += std::min(first.sequence->pending() - first.rows, budget);
  prompts_.front() = first;
  for (const PromptShare& p : prompts_) {
    if (p.rows == 0) continue;
    AddRows(*p.sequence, p.rows);
    stats_.prompt_rows += p.rows;
    queue_.Charge(p.sequence->request.client, static_cast<double>(p.rows));
  }
}

void Engine::AddRows(Sequence& s, int64_t count) {
  const bool judges = s.request.prompt_logprobs >= 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto next = static_cast<size_t>(s.computed) + 1;
    if (judges && next < s.request.prompt.size() && s.computed >= s.judged_to) {
      logit_rows_.push_back(static_cast<int32_t>(token_.size()));
      logit_owner_.push_back({&s, s.computed});
      s.judged_to = s.computed + 1;
    }
    token_.push_back(s.tokens[static_cast<size_t>(s.computed)]);
    position_.push_back(static_cast<int32_t>(s.computed));
    sequence_.push_back(s.kv);
    controls_.push_back(s.request.experts.any() ? &s.request.experts : nullptr);
    adapters_.push_back(s.request.adapter);
    ++s.computed;
  }
  if (s.pending() > 0 || !s.wants_answer()) return;
  logit_rows_.push_back(static_cast<int32_t>(token_.size()) - 1);
  logit_owner_.push_back({&s});
}

/// Guesses follow the sequence's last token, each with logits of its own.
void Engine::AddDraftRows(Sequence& s) {
  for (int32_t i = 0; i < s.draft_rows; ++i) {
    logit_rows_.push_back(static_cast<int32_t>(token_.size()));
    logit_owner_.push_back({&s});
    token_.push_back(s.draft[static_cast<size_t>(i)].id);
    position_.push_back(static_cast<int32_t>(s.computed + i));
    sequence_.push_back(s.kv);
    controls_.push_back(s.request.experts.any() ? &s.request.experts : nullptr);
    adapters_.push_back(s.request.adapter);
  }
}

}  // namespace octet
