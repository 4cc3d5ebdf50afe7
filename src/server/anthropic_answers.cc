// Anthropic's message object, whole and as a stream of named events.
#include "server/answer.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;

Json StopReason(const Choice& c) {
  if (!c.finish) return nullptr;
  switch (*c.finish) {
    case FinishReason::kLength:
    case FinishReason::kContext:
    case FinishReason::kDeadline:
      return "max_tokens";
    default:
      return c.stop.empty() ? "end_turn" : "stop_sequence";
  }
}

Json StopSequence(const Choice& c) { return c.stop.empty() ? Json(nullptr) : Json(c.stop); }

class Messages : public AnswerForm {
 public:
  const char* id_prefix() const override { return "msg_"; }
  bool is_anthropic() const override { return true; }

  Json Whole(const Answer& answer) const override {
    const Choice& c = answer.choices.front();
    return Message(answer, Json::array({{{"type", "text"}, {"text", c.text}}}));
  }
  void Begin(const Answer& answer, std::string& out) const override {
    AppendEvent({{"type", "message_start"}, {"message", Message(answer, Json::array())}}, out,
                "message_start");
    AppendEvent({{"type", "content_block_start"},
                 {"index", 0},
                 {"content_block", {{"type", "text"}, {"text", ""}}}},
                out, "content_block_start");
  }
  void Add(const Answer&, const Choice&, const Piece& piece, std::string& out) const override {
    AppendEvent({{"type", "content_block_delta"},
                 {"index", 0},
                 {"delta", {{"type", "text_delta"}, {"text", piece.text}}}},
                out, "content_block_delta");
  }
  void EndChoice(const Answer& answer, const Choice& c, std::string& out) const override {
    AppendEvent({{"type", "content_block_stop"}, {"index", 0}}, out, "content_block_stop");
    AppendEvent({{"type", "message_delta"},
                 {"delta", {{"stop_reason", StopReason(c)}, {"stop_sequence", StopSequence(c)}}},
                 {"usage", Usage(answer)}},
                out, "message_delta");
  }
  void End(const Answer&, std::string& out) const override {
    AppendEvent({{"type", "message_stop"}}, out, "message_stop");
  }
  void Fail(const ApiError& error, std::string& out) const override {
    AppendEvent(AnthropicError(error), out, "error");
  }

 private:
  /// Anthropic counts tokens that were read from a cache apart.
  static Json Usage(const Answer& answer) {
    const int64_t cached = answer.choices.front().finish ? answer.CachedTokens() : 0;
    return {{"input_tokens", answer.PromptTokens() - cached},
            {"cache_creation_input_tokens", 0},
            {"cache_read_input_tokens", cached},
            {"output_tokens", answer.CompletionTokens()}};
  }
  static Json Message(const Answer& answer, Json content) {
    const Choice& c = answer.choices.front();
    return {{"id", answer.id},
            {"type", "message"},
            {"role", "assistant"},
            {"model", answer.model},
            {"content", std::move(content)},
            {"stop_reason", StopReason(c)},
            {"stop_sequence", StopSequence(c)},
            {"usage", Usage(answer)}};
  }
};

}  // namespace

std::unique_ptr<AnswerForm> AnthropicAnswers() { return std::make_unique<Messages>(); }

}  // namespace octet
