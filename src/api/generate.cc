// One request from prompt to last token.
#include <chrono>

#include "api/guard.h"
#include "api/language_model.h"

namespace octet {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

/// Ends the request should the caller's callback throw, so that the engine is free again.
class CancelOnExit {
 public:
  CancelOnExit(Engine& engine, uint64_t id) : engine_(engine), id_(id) {}
  ~CancelOnExit() {
    if (!done_ && engine_.Cancel(id_)) engine_.Step();
  }
  CancelOnExit(const CancelOnExit&) = delete;
  CancelOnExit& operator=(const CancelOnExit&) = delete;
  void Done() { done_ = true; }

 private:
  Engine& engine_;
  uint64_t id_;
  bool done_ = false;
};

void Add(const Event& event, bool with_logprobs, GenerateResult& result) {
  result.text += event.text;
  if (event.finish) {
    result.finish = *event.finish;
    result.cached_tokens = event.cached_tokens;
    result.steps = event.guesses.steps;
    result.drafted_tokens = event.guesses.drafted;
    result.accepted_tokens = event.guesses.accepted;
  }
  if (event.token < 0) return;
  result.ids.push_back(event.token);
  if (with_logprobs) result.logprobs.push_back({event.logprob, event.top_logprobs});
}

}  // namespace

Result<GenerateResult> LanguageModel::Impl::Run(Request request, const GenerateOptions& options,
                                                const PieceCallback& callback) {
  if (options.max_tokens < 1) {
    return Err(ErrorCode::kInvalidArgument, "max_tokens is {}, expected 1 or more",
               options.max_tokens);
  }
  request.sampling = options.sampling;
  request.max_tokens = options.max_tokens;
  request.top_logprobs = options.top_logprobs;
  request.constraint = options.constraint;
  // A text that is the chat format's end may stand inside what a constraint asks for.
  if (options.constraint.kind != Constraint::Kind::kNone) request.stop_strings.clear();
  request.stop_strings.insert(request.stop_strings.end(), options.stop.begin(), options.stop.end());
  GenerateResult result;
  result.prompt_tokens = static_cast<int64_t>(request.prompt.size());
  const auto start = Clock::now();
  OCTET_ASSIGN(const uint64_t id, Guarded([&] { return engine->Submit(std::move(request)); }));
  CancelOnExit cancel(*engine, id);

  auto first = start;
  bool finished = false, stopping = false;
  const auto tell = [&](std::string_view piece) {
    const bool go_on = !callback || callback(piece);
    if (go_on || finished || stopping) return;
    stopping = true;
    // Not found when the request ended in this step, after tokens that nobody wants any more.
    static_cast<void>(engine->Cancel(id).has_value());
  };
  while (!finished) {
    OCTET_ASSIGN(const std::span<const Event> events,
                 Guarded([&]() -> Result<std::span<const Event>> { return engine->Step(); }));
    if (events.empty()) tell({});
    for (const Event& event : events) {
      if (event.request != id) continue;
      finished = event.finish.has_value();
      if (stopping && event.token >= 0) {
        result.finish = FinishReason::kCancelled;
        continue;
      }
      if (result.ids.empty()) first = Clock::now();
      Add(event, options.top_logprobs >= 0, result);
      tell(event.text);
    }
  }
  cancel.Done();
  result.prompt_s = Seconds(first - start);
  result.decode_s = Seconds(Clock::now() - first);
  if (result.finish == FinishReason::kError) {
    return Err(ErrorCode::kCorrupt,
               "{}: no token has a finite logit after {} tokens; the weights are damaged, or every "
               "token is banned",
               info.name, result.prompt_tokens + result.completion_tokens());
  }
  return result;
}

}  // namespace octet
