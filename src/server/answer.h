// An answer as it grows, and the forms in which APIs show it.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"
#include "server/api_error.h"
#include "server/generation_request.h"
#include "server/tool_calls.h"
#include "text/tokenizer.h"

namespace octet {

/// A token and the text that became certain with it.
struct Piece {
  int32_t token = -1;  // -1: none, the text was held back before
  std::string text;
  float logprob = 0;
  std::vector<TokenLogProb> top;
  std::vector<TokenRouting> routing = {};  // of the rows computed for it, where they are traced
};

struct Choice {
  int32_t index = 0;
  int32_t prompt = 0;               // of the answer's prompts
  std::string text;                 // without the tools' calls
  std::string said;                 // with them, where texts are logged
  ToolCallReader tools;             // where the answer may call some
  std::vector<Piece> pieces;        // where log-probabilities or a trace are wanted
  std::vector<PromptToken> judged;  // of the prompt's tokens after the first, as Event::prompt
  bool begun = false;               // something was heard of it
  std::optional<FinishReason> finish;
  std::string stop;  // the stop string that ended it
  int64_t tokens = 0;
  int64_t cached_tokens = 0;                   // of the prompt
  double first_token_s = 0, last_token_s = 0;  // since the request came
  double weight_bytes = 0;                     // read for its tokens
};

struct Answer {
  std::string id;
  std::string model;
  int64_t created = 0;  // seconds since 1970
  GenerationRequest request;
  std::vector<int64_t> prompt_tokens;            // [prompts]
  std::vector<std::string> prompt_texts;         // [prompts] where they are echoed
  std::vector<std::vector<int32_t>> prompt_ids;  // [prompts] where they are, with log-probabilities
  std::vector<Choice> choices;

  int64_t PromptTokens() const;
  int64_t CachedTokens() const;
  int64_t CompletionTokens() const;
  bool judges_prompts() const { return request.echo && request.top_logprobs >= 0; }
};

/// One API's way to write answers. Streams are server-sent events, appended to `out`.
class AnswerForm {
 public:
  virtual ~AnswerForm() = default;
  virtual nlohmann::ordered_json Whole(const Answer& answer) const = 0;
  virtual void Begin(const Answer& answer, std::string& out) const = 0;
  /// Before a choice's first piece, where prompts are judged: `choice.judged` is there.
  virtual void AddPrompt(const Answer& answer, const Choice& choice, std::string& out) const {
    (void)answer, (void)choice, (void)out;
  }
  virtual void Add(const Answer& answer, const Choice& choice, const Piece& piece,
                   std::string& out) const = 0;
  /// What calls of tools have grown by; `choice.tools` has them as they are now.
  virtual void AddCalls(const Answer& answer, const Choice& choice,
                        std::span<const ToolDelta> deltas, std::string& out) const = 0;
  virtual void EndChoice(const Answer& answer, const Choice& choice, std::string& out) const = 0;
  virtual void End(const Answer& answer, std::string& out) const = 0;
  /// Something went wrong after the stream began.
  virtual void Fail(const ApiError& error, std::string& out) const = 0;
  /// What ids of answers begin with, and those of calls of tools.
  virtual const char* id_prefix() const = 0;
  virtual const char* call_prefix() const { return "call_"; }
  virtual bool is_anthropic() const { return false; }
};

/// The tokenizer must outlive the form.
std::unique_ptr<AnswerForm> ChatAnswers(const Tokenizer& tokenizer);
std::unique_ptr<AnswerForm> CompletionAnswers(const Tokenizer& tokenizer);
std::unique_ptr<AnswerForm> AnthropicAnswers();
std::unique_ptr<AnswerForm> ResponsesAnswers();

/// "data: …\n\n", with "event: …\n" before it where `event` is not null.
void AppendEvent(const nlohmann::ordered_json& data, std::string& out, const char* event = nullptr);
/// `text` as a JSON string, as Dump writes it.
void AppendJsonText(std::string_view text, std::string& out);
/// OpenAI's "usage".
nlohmann::ordered_json UsageJson(const Answer& answer);
/// The bytes a token adds to text; a control token's name.
std::string TokenText(const Tokenizer& tokenizer, int32_t id);
/// Of several, one after another: what the model reads.
std::string TextOf(const Tokenizer& tokenizer, std::span<const int32_t> ids);

}  // namespace octet
