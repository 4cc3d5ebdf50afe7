// A constraint on its way with one answer: which tokens may come next.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "constrain/automaton.h"
#include "constrain/grammar.h"
#include "octet/constraint.h"

namespace octet {

/// The grammar of a constraint that is not kNone. kInvalidArgument says where the text is wrong, or
/// which keyword of a schema cannot be guaranteed.
Result<Grammar> GrammarOf(const Constraint& constraint);

/// One answer's place in a grammar. The automaton is one thread's, shared by answers.
class ConstraintState {
 public:
  /// `least_tokens` surely complete an answer from its beginning.
  ConstraintState(std::shared_ptr<Automaton> automaton, const TokenTrie& trie, int64_t least_tokens,
                  bool at_text_start);
  int64_t least_tokens() const { return least_tokens_; }

  /// After the first Allowed: whether the answer may end here; whether it must.
  bool accepting() const { return automaton_->accepting(state_); }
  bool finished() const { return automaton_->finished(state_); }

  /// [mask_words] The tokens that may come next when `left` more tokens are allowed, 1 or more.
  /// `end_ids` are among them where the answer may end. Valid until the next call.
  std::span<const uint64_t> Allowed(int64_t left, std::span<const int32_t> end_ids);
  /// Takes a token that was allowed and does not end the answer.
  void Advance(int32_t token);

 private:
  void Refresh();

  std::shared_ptr<Automaton> automaton_;
  const TokenTrie* trie_;
  int64_t least_tokens_;
  bool at_text_start_;
  int32_t state_ = -1;  // of the automaton's epoch
  int64_t epoch_ = -1;
  std::string text_;  // so far: states can be lost
  std::vector<uint64_t> mask_;
};

/// Compiles constraints for one vocabulary and keeps those that were used last. Safe to call from
/// several threads; `tokenizer` must outlive it and what it makes.
class ConstraintCompiler {
 public:
  explicit ConstraintCompiler(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  /// kInvalidArgument as GrammarOf, or a grammar that no tokens of this vocabulary complete.
  Result<std::unique_ptr<ConstraintState>> Start(const Constraint& constraint, bool at_text_start);

 private:
  struct Entry {
    Constraint constraint;
    std::shared_ptr<Automaton> automaton;
    int64_t least_tokens;
  };
  const TokenTrie& Trie();

  const Tokenizer& tokenizer_;
  std::mutex mutex_;  // guards what follows
  std::unique_ptr<TokenTrie> trie_;
  std::list<Entry> recent_;  // the last used first
};

}  // namespace octet
