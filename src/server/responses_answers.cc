// OpenAI's response object, whole and as a stream of numbered events.
#include "server/answer.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;

bool RanOut(const Choice& c) {
  return c.finish == FinishReason::kLength || c.finish == FinishReason::kContext ||
         c.finish == FinishReason::kDeadline;
}

class Responses : public AnswerForm {
 public:
  const char* id_prefix() const override { return "resp_"; }

  Json Whole(const Answer& answer) const override {
    const Choice& c = answer.choices.front();
    Json response = Head(answer, RanOut(c) ? "incomplete" : "completed");
    if (RanOut(c)) response["incomplete_details"] = {{"reason", "max_output_tokens"}};
    response["output"] = Output(answer, c);
    const int64_t prompt = answer.PromptTokens(), completion = answer.CompletionTokens();
    response["usage"] = {{"input_tokens", prompt},
                         {"input_tokens_details", {{"cached_tokens", answer.CachedTokens()}}},
                         {"output_tokens", completion},
                         {"output_tokens_details", {{"reasoning_tokens", 0}}},
                         {"total_tokens", prompt + completion}};
    return response;
  }
  void Begin(const Answer& answer, std::string& out) const override {
    const Json response = Head(answer, "in_progress");
    Send("response.created", {{"response", response}}, out);
    Send("response.in_progress", {{"response", response}}, out);
    // With tools it is not known yet what the first item is.
    if (!answer.request.calls_tools) BeginText(answer, out);
  }
  void Add(const Answer& answer, const Choice& c, const Piece& piece,
           std::string& out) const override {
    if (piece.text.empty()) return;
    const bool first = c.text.size() == piece.text.size();
    if (answer.request.calls_tools && first) BeginText(answer, out);
    Json event = Place(answer);
    event["delta"] = piece.text;
    event["logprobs"] = Json::array();
    Send("response.output_text.delta", event, out);
  }
  void AddCalls(const Answer&, const Choice& c, std::span<const ToolDelta> deltas,
                std::string& out) const override {
    for (const ToolDelta& delta : deltas) {
      const ToolCall& call = c.tools.calls()[delta.call];
      if (delta.begins) {
        if (delta.call > 0) EndCall(c.tools.calls()[delta.call - 1], delta.call - 1, out);
        ToolCall begun = call;
        begun.arguments.clear();
        Send("response.output_item.added",
             {{"output_index", delta.call}, {"item", CallItem(begun, "in_progress")}}, out);
      }
      if (delta.arguments.empty()) continue;
      Send("response.function_call_arguments.delta",
           {{"item_id", "fc_" + call.id}, {"output_index", delta.call}, {"delta", delta.arguments}},
           out);
    }
  }
  void EndChoice(const Answer& answer, const Choice& c, std::string& out) const override {
    if (const size_t calls = c.tools.calls().size(); calls > 0) {
      return EndCall(c.tools.calls().back(), calls - 1, out);
    }
    if (answer.request.calls_tools && c.text.empty()) BeginText(answer, out);
    Json text = Place(answer), part = Place(answer);
    text["text"] = c.text;
    text["logprobs"] = Json::array();
    part["part"] = Part(c.text);
    Send("response.output_text.done", text, out);
    Send("response.content_part.done", part, out);
    Send("response.output_item.done",
         {{"output_index", 0}, {"item", Item(answer, "completed", Json::array({Part(c.text)}))}},
         out);
  }
  void End(const Answer& answer, std::string& out) const override {
    const bool ran_out = RanOut(answer.choices.front());
    Send(ran_out ? "response.incomplete" : "response.completed", {{"response", Whole(answer)}},
         out);
  }
  void Fail(const ApiError& error, std::string& out) const override {
    Send("error", {{"code", error.code}, {"message", error.message}, {"param", nullptr}}, out);
  }

 private:
  void Send(const char* type, const Json& event, std::string& out) const {
    Json whole = {{"type", type}, {"sequence_number", sequence_++}};
    whole.update(event);
    AppendEvent(whole, out, type);
  }
  void BeginText(const Answer& answer, std::string& out) const {
    Send("response.output_item.added",
         {{"output_index", 0}, {"item", Item(answer, "in_progress", Json::array())}}, out);
    Json event = Place(answer);
    event["part"] = Part("");
    Send("response.content_part.added", event, out);
  }
  void EndCall(const ToolCall& call, size_t index, std::string& out) const {
    Send("response.function_call_arguments.done",
         {{"item_id", "fc_" + call.id},
          {"output_index", index},
          {"name", call.name},
          {"arguments", call.arguments}},
         out);
    Send("response.output_item.done",
         {{"output_index", index}, {"item", CallItem(call, "completed")}}, out);
  }
  static Json CallItem(const ToolCall& call, const char* status) {
    return {{"id", "fc_" + call.id}, {"type", "function_call"}, {"status", status},
            {"call_id", call.id},    {"name", call.name},       {"arguments", call.arguments}};
  }
  /// Calls, or else a message.
  static Json Output(const Answer& answer, const Choice& c) {
    Json output = Json::array();
    for (const ToolCall& call : c.tools.calls()) output.push_back(CallItem(call, "completed"));
    if (output.empty()) {
      output.push_back(Item(answer, "completed", Json::array({Part(c.text)})));
    }
    return output;
  }
  static std::string ItemId(const Answer& answer) { return "msg_" + answer.id; }
  static Json Place(const Answer& answer) {
    return {{"item_id", ItemId(answer)}, {"output_index", 0}, {"content_index", 0}};
  }
  static Json Part(const std::string& text) {
    return {{"type", "output_text"},
            {"text", text},
            {"annotations", Json::array()},
            {"logprobs", Json::array()}};
  }
  static Json Item(const Answer& answer, const char* status, Json content) {
    return {{"id", ItemId(answer)},
            {"type", "message"},
            {"status", status},
            {"role", "assistant"},
            {"content", std::move(content)}};
  }
  static Json Head(const Answer& answer, const char* status) {
    return {{"id", answer.id},
            {"object", "response"},
            {"created_at", answer.created},
            {"status", status},
            {"error", nullptr},
            {"incomplete_details", nullptr},
            {"model", answer.model},
            {"output", Json::array()},
            {"parallel_tool_calls", false},
            {"tool_choice", "none"},
            {"tools", Json::array()},
            {"temperature", answer.request.sampling.temperature},
            {"top_p", answer.request.sampling.top_p},
            {"store", false},
            {"usage", nullptr}};
  }

  mutable int64_t sequence_ = 0;  // of the next event
};

}  // namespace

std::unique_ptr<AnswerForm> ResponsesAnswers() { return std::make_unique<Responses>(); }

}  // namespace octet
