// Anthropic's message object, whole and as a stream of named events.
#include "server/answer.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;

Json StopReason(const Choice& c) {
  if (!c.finish) return nullptr;
  if (c.tools.complete()) return "tool_use";
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
  const char* call_prefix() const override { return "toolu_"; }
  bool is_anthropic() const override { return true; }

  Json Whole(const Answer& answer) const override {
    const Choice& c = answer.choices.front();
    Json content = Json::array();
    if (!c.text.empty() || c.tools.calls().empty()) {
      content.push_back({{"type", "text"}, {"text", c.text}});
    }
    for (const ToolCall& call : c.tools.calls()) {
      content.push_back(Use(call, Json::parse(call.arguments, nullptr, false)));
    }
    return Message(answer, std::move(content));
  }
  void Begin(const Answer& answer, std::string& out) const override {
    AppendEvent({{"type", "message_start"}, {"message", Message(answer, Json::array())}}, out,
                "message_start");
    // With tools it is not known yet what the first block is.
    if (!answer.request.calls_tools) BeginBlock(0, {{"type", "text"}, {"text", ""}}, out);
  }
  void Add(const Answer& answer, const Choice& c, const Piece& piece,
           std::string& out) const override {
    if (piece.text.empty()) return;
    const bool first = c.text.size() == piece.text.size();
    if (answer.request.calls_tools && first) {
      BeginBlock(0, {{"type", "text"}, {"text", ""}}, out);
    }
    AppendEvent({{"type", "content_block_delta"},
                 {"index", 0},
                 {"delta", {{"type", "text_delta"}, {"text", piece.text}}}},
                out, "content_block_delta");
  }
  /// Calls are the blocks from 0 on, as such an answer has no text.
  void AddCalls(const Answer&, const Choice& c, std::span<const ToolDelta> deltas,
                std::string& out) const override {
    for (const ToolDelta& delta : deltas) {
      if (delta.begins) {
        if (delta.call > 0) EndBlock(delta.call - 1, out);
        BeginBlock(delta.call, Use(c.tools.calls()[delta.call], Json::object()), out);
      }
      if (delta.arguments.empty()) continue;
      AppendEvent({{"type", "content_block_delta"},
                   {"index", delta.call},
                   {"delta", {{"type", "input_json_delta"}, {"partial_json", delta.arguments}}}},
                  out, "content_block_delta");
    }
  }
  void EndChoice(const Answer& answer, const Choice& c, std::string& out) const override {
    const size_t calls = c.tools.calls().size();
    const bool begun = !answer.request.calls_tools || !c.text.empty() || calls > 0;
    if (!begun) BeginBlock(0, {{"type", "text"}, {"text", ""}}, out);
    EndBlock(calls > 0 ? calls - 1 : 0, out);
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
  static void BeginBlock(size_t index, Json block, std::string& out) {
    AppendEvent(
        {{"type", "content_block_start"}, {"index", index}, {"content_block", std::move(block)}},
        out, "content_block_start");
  }
  static void EndBlock(size_t index, std::string& out) {
    AppendEvent({{"type", "content_block_stop"}, {"index", index}}, out, "content_block_stop");
  }
  static Json Use(const ToolCall& call, Json input) {
    if (!input.is_object()) input = Json::object();
    return {
        {"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", std::move(input)}};
  }
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
