// What a client asks of the engine, and what it hears back.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/batch.h"
#include "octet/constraint.h"
#include "octet/generation.h"
#include "sample/options.h"

namespace octet {

/// Whose way through the experts a request reports.
enum class RoutingTrace {
  kNone,
  kAnswer,  // of the rows that chose the answer's tokens
  kPrompt,  // of the prompt's too, which is then computed anew from its first token
};

struct Request {
  std::vector<int32_t> prompt;  // BOS included where the model wants one; not empty
  SamplingOptions sampling;
  /// Of the answer; the context may end it earlier. 0: none, the prompt alone is looked at.
  int64_t max_tokens = 128;
  std::vector<std::string> stop_strings;
  std::vector<int32_t> stop_ids;  // beside the vocabulary's EOS
  /// What the answer must be. Such an answer gets complete within max_tokens and the context; a
  /// request that leaves too few of them is refused.
  Constraint constraint = {};
  /// Log-probabilities with every event: -1 none, 0 of the chosen token, n also of the n likeliest.
  int32_t top_logprobs = -1;
  /// The same for the prompt's tokens after the first (Event::prompt), or -1. Such a prompt is
  /// computed anew from its first token, and not shared. Not with a session.
  int32_t prompt_logprobs = -1;
  /// The first token's leading space is the dummy prefix and not text: true where the answer begins
  /// a text of its own (chat), false where it continues the prompt.
  bool at_text_start = false;
  /// From Engine::OpenSession, or 0: a session's keys and values outlive the request, and the next
  /// one computes only what follows their common beginning.
  int64_t session = 0;

  RoutingTrace trace = RoutingTrace::kNone;
  /// Its prompt is not shared with other requests then.
  ExpertControls experts = {};
  int32_t adapter = 0;   // of EngineOptions::adapters, from 1; 0: none. Not with a session
  int32_t priority = 0;  // higher ones are begun first, and keep their pages longer
  std::string client;    // who asks: among equal priorities clients share the machine evenly
  /// When nobody waits for the answer any more: it ends within one step of it.
  std::optional<std::chrono::steady_clock::time_point> deadline = std::nullopt;
};

/// Where one token went, in every layer.
struct TokenRouting {
  int32_t position = 0;           // of the token in its sequence, prompt included
  int32_t experts_per_layer = 0;  // k
  std::vector<int32_t> experts;   // [layers * k], best first in each; -1: none
  std::vector<float> weights;     // [layers * k], of each layer summing to 1
};

/// How an answer's tokens came about.
struct GuessCount {
  int64_t steps = 0;     // of the model; without guessing as many as tokens
  int64_t drafted = 0;   // guesses computed
  int64_t accepted = 0;  // of them, right
};

/// What the model thought of one token of a prompt.
struct PromptToken {
  float logprob = 0;
  std::vector<TokenLogProb> top;  // best first
};

/// One chosen token, or the end of a request without one (cancelled, error).
struct Event {
  uint64_t request = 0;
  int32_t token = -1;  // -1: none
  /// What became certain with this token: whole UTF-8 characters, no part of a stop string. Empty
  /// for end tokens.
  std::string text;
  float logprob = 0;                       // when top_logprobs ≥ 0
  std::vector<TokenLogProb> top_logprobs;  // best first
  std::optional<FinishReason> finish;      // set in the request's last event
  std::string stop;                        // the stop string that ended it; in the last event
  int64_t cached_tokens = 0;               // prompt tokens found computed; in the last event
  GuessCount guesses = {};                 // in the last event
  std::chrono::steady_clock::time_point at = {};  // of the step's end, where it has a token
  /// Bytes of weights the step read, shared by all its rows: one row's part.
  double weight_bytes = 0;
  /// [prompt − 1] of the prompt's tokens after the first, in the request's first event where they
  /// are asked for.
  std::vector<PromptToken> prompt = {};
  std::vector<TokenRouting> routing = {};  // computed since the event before, where it is traced
};

}  // namespace octet
