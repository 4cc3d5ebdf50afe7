#include "constrain/constraint.h"

#include <algorithm>

#include "base/check.h"
#include "constrain/gbnf.h"
#include "constrain/json_grammar.h"
#include "constrain/pattern.h"
#include "constrain/schema.h"
#include "constrain/tool_grammar.h"

namespace octet {

Result<Grammar> GrammarOf(const Constraint& constraint) {
  switch (constraint.kind) {
    case Constraint::Kind::kGrammar:
      return ParseGbnf(constraint.text);
    case Constraint::Kind::kJson:
      return JsonObjectGrammar();
    case Constraint::Kind::kJsonSchema:
      return SchemaGrammar(constraint.text);
    case Constraint::Kind::kRegex:
      return RegexGrammar(constraint.text);
    case Constraint::Kind::kToolCalls:
      return ToolGrammar(constraint.text);
    case Constraint::Kind::kNone:
      break;
  }
  return Err(ErrorCode::kInvalidArgument, "there is no constraint to compile");
}

ConstraintState::ConstraintState(std::shared_ptr<Automaton> automaton, const TokenTrie& trie,
                                 int64_t least_tokens, bool at_text_start)
    : automaton_(std::move(automaton)),
      trie_(&trie),
      least_tokens_(least_tokens),
      at_text_start_(at_text_start),
      mask_(trie.mask_words()) {}

/// Finds its state again where the automaton was made anew.
void ConstraintState::Refresh() {
  if (epoch_ == automaton_->epoch()) return;
  epoch_ = automaton_->epoch();
  state_ = automaton_->Walk(automaton_->start(), text_);
  CHECK(state_ != Automaton::kDead);
}

std::span<const uint64_t> ConstraintState::Allowed(int64_t left, std::span<const int32_t> end_ids) {
  automaton_->FlushIfLarge();
  Refresh();
  const bool at_start = at_text_start_ && text_.empty();
  const std::span<const uint64_t> mask = automaton_->Allowed(state_, left - 1, at_start);
  // An end token may have a text of its own, which is not what it would be chosen for.
  std::copy(mask.begin(), mask.end(), mask_.begin());
  for (const int32_t id : end_ids) {
    if (id < 0 || id >= trie_->vocab_size()) continue;
    const uint64_t bit = uint64_t{1} << (id % 64);
    uint64_t& word = mask_[static_cast<size_t>(id) / 64];
    word = accepting() ? word | bit : word & ~bit;
  }
  return mask_;
}

void ConstraintState::Advance(int32_t token) {
  const std::string_view bytes = trie_->Bytes(token, at_text_start_ && text_.empty());
  state_ = automaton_->Walk(state_, bytes);
  CHECK(state_ != Automaton::kDead);
  text_ += bytes;
}

const TokenTrie& ConstraintCompiler::Trie() {
  if (!trie_) trie_ = std::make_unique<TokenTrie>(tokenizer_);
  return *trie_;
}

Result<std::unique_ptr<ConstraintState>> ConstraintCompiler::Start(const Constraint& constraint,
                                                                   bool at_text_start) {
  constexpr size_t kMostKept = 8;
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(recent_.begin(), recent_.end(),
                                  [&](const Entry& e) { return e.constraint == constraint; });
  if (found != recent_.end()) {
    recent_.splice(recent_.begin(), recent_, found);
  } else {
    OCTET_ASSIGN(const Grammar grammar, GrammarOf(constraint));
    OCTET_ASSIGN(Program program, CompileGrammar(grammar));
    auto automaton = std::make_shared<Automaton>(std::move(program), Trie());
    const int64_t cost = automaton->cost(automaton->start());
    if (cost >= kNever) {
      return Err(ErrorCode::kInvalidArgument,
                 "no tokens of this model's vocabulary surely complete the constraint");
    }
    recent_.push_front({constraint, std::move(automaton), cost});
    if (recent_.size() > kMostKept) recent_.pop_back();
  }
  const Entry& entry = recent_.front();
  return std::make_unique<ConstraintState>(entry.automaton, *trie_, entry.least_tokens,
                                           at_text_start);
}

}  // namespace octet
