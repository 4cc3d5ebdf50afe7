// A request on its way: its tokens, how far they are computed, and what turns logits into text.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "constrain/constraint.h"
#include "engine/answer_text.h"
#include "engine/drafter.h"
#include "engine/request.h"
#include "sample/sampler.h"

namespace octet {

struct Sequence {
  uint64_t id;
  Request request;
  Sampler sampler;
  AnswerText answer;
  /// Prompt, then answer. Without the prompt's last token where no answer is wanted: nothing hangs
  /// on what follows it.
  std::vector<int32_t> tokens;
  std::unique_ptr<ConstraintState> constraint = nullptr;  // null: the answer may be anything
  int64_t computed = 0;       // positions whose keys and values are in the cache
  int32_t kv = -1;            // the cache's sequence; -1 while waiting
  int64_t cached_tokens = 0;  // of the prompt, found computed
  bool preempted = false;     // waits for the second time

  uint64_t prefix_root = 0;              // PrefixCache::Root of its adapter
  std::vector<uint64_t> page_hash = {};  // of full pages, each with all before it (PrefixCache)
  int64_t shared_pages = 0;              // pages at the beginning that the prefix cache holds too

  std::vector<PromptToken> judged = {};  // as Event::prompt, until it is told
  int64_t judged_to = 0;                 // positions before it are done

  std::vector<TokenRouting> traced = {};  // of the prompt, not told yet
  int32_t traced_to = 0;                  // positions before it are

  std::vector<DraftToken> draft;  // guesses at what follows `tokens`
  int32_t draft_rows = 0;         // of them, computed in this step
  GuessCount guesses = {};
  PaperGuess paper = {};

  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  int64_t pending() const { return length() - computed; }
  bool wants_answer() const { return request.max_tokens > 0; }
  int64_t answered() const { return length() - static_cast<int64_t>(request.prompt.size()); }
};

}  // namespace octet
