// OpenAI's chat.completion and text_completion objects, whole and in chunks.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include "server/answer.h"
#include "server/octet_fields.h"
#include "text/detokenizer.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;

const char* FinishName(const Choice& choice) {
  if (choice.tools.complete()) return "tool_calls";
  const FinishReason reason = choice.finish.value_or(FinishReason::kStop);
  const bool ran_out = reason == FinishReason::kLength || reason == FinishReason::kContext ||
                       reason == FinishReason::kDeadline;
  return ran_out ? "length" : "stop";
}

class OpenAiAnswers : public AnswerForm {
 public:
  explicit OpenAiAnswers(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void Fail(const ApiError& error, std::string& out) const override {
    AppendEvent(OpenAiError(error), out);
  }
  void AddCalls(const Answer&, const Choice&, std::span<const ToolDelta>,
                std::string&) const override {}
  void End(const Answer& answer, std::string& out) const override {
    if (answer.request.include_usage) {
      Json chunk = Head(answer, true);
      chunk["choices"] = Json::array();
      chunk["usage"] = UsageJson(answer);
      AppendEvent(chunk, out);
    }
    out += "data: [DONE]\n\n";
  }

 protected:
  Json Head(const Answer& answer, bool chunk) const {
    return {{"id", answer.id},
            {"object", ObjectName(chunk)},
            {"created", answer.created},
            {"model", answer.model}};
  }
  void Chunk(const Answer& answer, Json choice, std::string& out) const {
    Json chunk = Head(answer, true);
    chunk["choices"] = Json::array({std::move(choice)});
    if (answer.request.include_usage) chunk["usage"] = nullptr;
    AppendEvent(chunk, out);
  }
  /// Most of what a stream is: the chunk of a choice that gains text and nothing else, without a
  /// JSON object in between. The choice is `before`, the text, `after`.
  void TextChunk(const Answer& answer, std::string_view before, std::string_view text,
                 std::string_view after, std::string& out) const {
    out += R"(data: {"id":)";
    AppendJsonText(answer.id, out);
    fmt::format_to(std::back_inserter(out), R"(,"object":"{}","created":{},"model":)",
                   ObjectName(true), answer.created);
    AppendJsonText(answer.model, out);
    out += R"(,"choices":[)";
    out += before;
    AppendJsonText(text, out);
    out += after;
    out += answer.request.include_usage ? "],\"usage\":null}\n\n" : "]}\n\n";
  }
  static bool IsTextAlone(const Answer& answer) {
    return answer.request.top_logprobs < 0 && answer.request.trace == RoutingTrace::kNone;
  }
  /// A choice as it is at its end.
  Json Ended(const Answer& answer, const Choice& c, Json choice) const {
    if (answer.request.extras) choice["octet"] = ChoiceExtras(answer, c);
    return choice;
  }
  /// A choice with one token more.
  Json Grown(const Answer& answer, const Piece& piece, Json choice) const {
    if (answer.request.trace != RoutingTrace::kNone) choice["octet"] = PieceExtras(piece);
    return choice;
  }
  virtual const char* ObjectName(bool chunk) const = 0;
  const Tokenizer& tokenizer_;
};

class Chat : public OpenAiAnswers {
 public:
  using OpenAiAnswers::OpenAiAnswers;
  const char* id_prefix() const override { return "chatcmpl-"; }

  Json Whole(const Answer& answer) const override {
    Json whole = Head(answer, false);
    Json& choices = whole["choices"] = Json::array();
    for (const Choice& c : answer.choices) {
      choices.push_back(Ended(answer, c,
                              {{"index", c.index},
                               {"message", Message(c)},
                               {"logprobs", LogProbs(answer, c.pieces)},
                               {"finish_reason", FinishName(c)}}));
    }
    whole["usage"] = UsageJson(answer);
    return whole;
  }
  void Begin(const Answer& answer, std::string& out) const override {
    for (const Choice& c : answer.choices) {
      Chunk(answer, Delta(c, {{"role", "assistant"}, {"content", ""}}, nullptr, nullptr), out);
    }
  }
  void Add(const Answer& answer, const Choice& c, const Piece& piece,
           std::string& out) const override {
    if (IsTextAlone(answer)) {
      const std::string before = fmt::format(R"({{"index":{},"delta":{{"content":)", c.index);
      return TextChunk(answer, before, piece.text, R"(},"logprobs":null,"finish_reason":null})",
                       out);
    }
    Json delta = Delta(c, {{"content", piece.text}}, LogProbs(answer, {&piece, 1}), nullptr);
    Chunk(answer, Grown(answer, piece, std::move(delta)), out);
  }
  void AddCalls(const Answer& answer, const Choice& c, std::span<const ToolDelta> deltas,
                std::string& out) const override {
    for (const ToolDelta& delta : deltas) {
      Json call = {{"index", delta.call}};
      if (delta.begins) {
        const ToolCall& begun = c.tools.calls()[delta.call];
        call["id"] = begun.id;
        call["type"] = "function";
        call["function"] = {{"name", begun.name}, {"arguments", delta.arguments}};
      } else {
        // Mistral's client wants a name everywhere; an empty one adds nothing to the first.
        call["function"] = {{"name", ""}, {"arguments", delta.arguments}};
      }
      Chunk(answer, Delta(c, {{"tool_calls", Json::array({std::move(call)})}}, nullptr, nullptr),
            out);
    }
  }
  void EndChoice(const Answer& answer, const Choice& c, std::string& out) const override {
    Chunk(answer, Ended(answer, c, Delta(c, Json::object(), nullptr, FinishName(c))), out);
  }

 private:
  static Json Message(const Choice& c) {
    Json message = {{"role", "assistant"}, {"content", c.text}, {"refusal", nullptr}};
    if (c.tools.calls().empty()) return message;
    if (c.text.empty()) message["content"] = nullptr;
    Json& calls = message["tool_calls"] = Json::array();
    for (const ToolCall& call : c.tools.calls()) {
      calls.push_back({{"id", call.id},
                       {"type", "function"},
                       {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    }
    return message;
  }
  const char* ObjectName(bool chunk) const override {
    return chunk ? "chat.completion.chunk" : "chat.completion";
  }
  static Json Delta(const Choice& c, Json delta, Json logprobs, Json finish) {
    return {{"index", c.index},
            {"delta", std::move(delta)},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", std::move(finish)}};
  }
  Json Token(int32_t id, float logprob) const {
    const std::string bytes = TokenText(tokenizer_, id);
    Json numbers = Json::array();
    for (const char c : bytes) numbers.push_back(static_cast<unsigned char>(c));
    return {{"token", bytes}, {"logprob", logprob}, {"bytes", std::move(numbers)}};
  }
  Json LogProbs(const Answer& answer, std::span<const Piece> pieces) const {
    if (answer.request.top_logprobs < 0) return nullptr;
    Json content = Json::array();
    for (const Piece& piece : pieces) {
      if (piece.token < 0) continue;
      Json token = Token(piece.token, piece.logprob);
      Json& top = token["top_logprobs"] = Json::array();
      for (const TokenLogProb& t : piece.top) top.push_back(Token(t.id, t.logprob));
      content.push_back(std::move(token));
    }
    return {{"content", std::move(content)}, {"refusal", nullptr}};
  }
};

/// The lists of a completion's "logprobs", each with an element a token. Offsets count bytes.
struct TokenLists {
  Json tokens = Json::array(), values = Json::array(), tops = Json::array();
  Json offsets = Json::array();

  Json Whole() && {
    return {{"tokens", std::move(tokens)},
            {"token_logprobs", std::move(values)},
            {"top_logprobs", std::move(tops)},
            {"text_offset", std::move(offsets)}};
  }
};

class Completion : public OpenAiAnswers {
 public:
  using OpenAiAnswers::OpenAiAnswers;
  const char* id_prefix() const override { return "cmpl-"; }

  Json Whole(const Answer& answer) const override {
    Json whole = Head(answer, false);
    Json& choices = whole["choices"] = Json::array();
    for (const Choice& c : answer.choices) {
      const std::string echo = Echo(answer, c);
      TokenLists lists;
      AddPromptTokens(answer, c, lists);
      AddTokens(c.pieces, echo.size(), lists);
      choices.push_back(Ended(
          answer, c, Part(c, echo + c.text, LogProbs(answer, std::move(lists)), FinishName(c))));
    }
    whole["usage"] = UsageJson(answer);
    return whole;
  }
  void Begin(const Answer& answer, std::string& out) const override {
    if (answer.judges_prompts()) return;
    for (const Choice& c : answer.choices) {
      const std::string echo = Echo(answer, c);
      if (!echo.empty()) Chunk(answer, Part(c, echo, nullptr, nullptr), out);
    }
  }
  void AddPrompt(const Answer& answer, const Choice& c, std::string& out) const override {
    TokenLists lists;
    AddPromptTokens(answer, c, lists);
    Chunk(answer, Part(c, Echo(answer, c), LogProbs(answer, std::move(lists)), nullptr), out);
  }
  void Add(const Answer& answer, const Choice& c, const Piece& piece,
           std::string& out) const override {
    if (IsTextAlone(answer)) {
      const std::string after =
          fmt::format(R"(,"index":{},"logprobs":null,"finish_reason":null}})", c.index);
      return TextChunk(answer, R"({"text":)", piece.text, after, out);
    }
    TokenLists lists;
    AddTokens({&piece, 1}, Echo(answer, c).size() + c.text.size() - piece.text.size(), lists);
    Json part = Part(c, piece.text, LogProbs(answer, std::move(lists)), nullptr);
    Chunk(answer, Grown(answer, piece, std::move(part)), out);
  }
  void EndChoice(const Answer& answer, const Choice& c, std::string& out) const override {
    Chunk(answer, Ended(answer, c, Part(c, "", nullptr, FinishName(c))), out);
  }

 private:
  const char* ObjectName(bool) const override { return "text_completion"; }
  static std::string Echo(const Answer& answer, const Choice& c) {
    return answer.request.echo ? answer.prompt_texts[static_cast<size_t>(c.prompt)] : std::string();
  }
  static Json Part(const Choice& c, const std::string& text, Json logprobs, Json finish) {
    return {{"text", text},
            {"index", c.index},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", std::move(finish)}};
  }
  static Json LogProbs(const Answer& answer, TokenLists lists) {
    return answer.request.top_logprobs < 0 ? Json(nullptr) : std::move(lists).Whole();
  }
  Json Top(std::span<const TokenLogProb> best_first) const {
    Json top = Json::object();
    // Tokens of the same text: the likeliest stands for them.
    for (const TokenLogProb& t : best_first) top.emplace(TokenText(tokenizer_, t.id), t.logprob);
    return top;
  }
  void AddTokens(std::span<const Piece> pieces, size_t offset, TokenLists& lists) const {
    for (const Piece& piece : pieces) {
      if (piece.token < 0) continue;
      lists.tokens.push_back(TokenText(tokenizer_, piece.token));
      lists.values.push_back(piece.logprob);
      lists.tops.push_back(Top(piece.top));
      lists.offsets.push_back(offset);
      offset += piece.text.size();
    }
  }
  /// Nothing is known of the first: no token is before it.
  void AddPromptTokens(const Answer& answer, const Choice& c, TokenLists& lists) const {
    if (!answer.judges_prompts()) return;
    const auto prompt = static_cast<size_t>(c.prompt);
    const std::vector<int32_t>& ids = answer.prompt_ids[prompt];
    const size_t length = answer.prompt_texts[prompt].size();
    Detokenizer detokenizer(tokenizer_);
    size_t offset = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      const bool known = i > 0 && i <= c.judged.size();
      lists.tokens.push_back(TokenText(tokenizer_, ids[i]));
      lists.values.push_back(known ? Json(c.judged[i - 1].logprob) : Json(nullptr));
      lists.tops.push_back(known ? Top(c.judged[i - 1].top) : Json(nullptr));
      lists.offsets.push_back(std::min(offset, length));
      offset += detokenizer.Push(ids[i]).size();
    }
  }
};

}  // namespace

std::unique_ptr<AnswerForm> ChatAnswers(const Tokenizer& tokenizer) {
  return std::make_unique<Chat>(tokenizer);
}
std::unique_ptr<AnswerForm> CompletionAnswers(const Tokenizer& tokenizer) {
  return std::make_unique<Completion>(tokenizer);
}

}  // namespace octet
