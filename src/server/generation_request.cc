#include "server/generation_request.h"

#include <fmt/format.h>

#include "server/json_fields.h"
#include "server/octet_fields.h"
#include "server/sampling_fields.h"
#include "server/tool_messages.h"

namespace octet {
namespace {

constexpr int64_t kMostTokens = 1 << 24;
constexpr size_t kMostStops = 64;
constexpr int32_t kMostLogProbs = 20;

/// A message's text: a string, or parts of which all are text or of tools.
void ReadContent(JsonFields& fields, const nlohmann::json& message, const std::string& where,
                 std::string& out, ToolHistory& tools) {
  const auto content = message.find("content");
  if (content == message.end() || content->is_null()) return;
  if (content->is_string()) {
    out = content->get<std::string>();
    return;
  }
  if (!content->is_array()) {
    return fields.Fail(where, where + ".content: expected a string or an array of text parts");
  }
  for (const nlohmann::json& part : *content) {
    if (part.is_object() && tools.AddPart(part, out)) continue;
    const bool is_text = part.is_object() && part.contains("text") && part["text"].is_string() &&
                         part.value("type", nlohmann::json("text")).is_string();
    const std::string type = is_text ? part.value("type", std::string("text")) : std::string();
    if (type != "text" && type != "input_text" && type != "output_text") {
      return fields.Fail(where, where + ".content: only parts of type \"text\" are understood");
    }
    out += part["text"].get_ref<const std::string&>();
  }
}

/// A tool's result is something the user says; one after another, and before what the user says
/// next.
void AddMessage(ChatMessage message, bool is_result, bool& after_result,
                std::vector<ChatMessage>& messages) {
  if (after_result && message.role == "user") {
    messages.back().content += (is_result ? "\n" : "\n\n") + message.content;
  } else {
    messages.push_back(std::move(message));
  }
  after_result = messages.back().role == "user" && (is_result || after_result);
}

void ReadMessages(JsonFields& fields, GenerationRequest& request) {
  const nlohmann::json* messages = fields.Find("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty()) {
    return fields.Fail("messages", "messages: expected an array of at least one message");
  }
  ToolHistory tools;
  bool after_result = false;
  for (size_t i = 0; i < messages->size() && fields.ok(); ++i) {
    const nlohmann::json& message = (*messages)[i];
    const std::string where = fmt::format("messages[{}]", i);
    if (!message.is_object()) return fields.Fail(where, where + ": expected an object");
    const auto role = message.find("role");
    if (role == message.end() || !role->is_string()) {
      return fields.Fail(where, where + ".role: expected \"system\", \"user\" or \"assistant\"");
    }
    ChatMessage out;
    out.role = role->get<std::string>();
    if (out.role == "developer") out.role = "system";
    ReadContent(fields, message, where, out.content, tools);
    const nlohmann::json calls = message.value("tool_calls", nlohmann::json());
    for (const nlohmann::json& call : calls) {
      if (!tools.AddCall(call)) {
        return fields.Fail(where, where + ".tool_calls: expected calls of functions");
      }
    }
    if (const std::string text = tools.TakeCalls(); !text.empty()) {
      out.content += (out.content.empty() ? "" : "\n") + text;
    }
    const bool is_result = out.role == "tool";
    if (is_result) {
      const nlohmann::json given = message.value("tool_call_id", nlohmann::json());
      const std::string id = given.is_string() ? given.get<std::string>() : std::string();
      if (!tools.Knows(id)) {
        return fields.Fail(where, where + ".tool_call_id: no message before it has that call");
      }
      out = {"user", tools.Result(id, out.content)};
    }
    const auto prefix = message.find("prefix");
    const bool is_last = i + 1 == messages->size() && out.role == "assistant";
    if (prefix != message.end() && *prefix == true && is_last) {
      request.continue_last = true;
    }
    AddMessage(std::move(out), is_result, after_result, request.messages);
  }
  if (!fields.ok() || request.messages.back().role != "assistant") return;
  fields.Bool("continue_final_message", request.continue_last);
  if (!request.continue_last) {
    fields.Fail("messages",
                "the last message is the assistant's; add \"prefix\": true to it to have it "
                "continued, or end with a user's");
  }
}

void ReadMaxTokens(JsonFields& fields, const char* name, GenerationRequest& request) {
  if (fields.Find(name) == nullptr) return;
  int64_t most = 0;
  fields.Integer(name, most, request.echo ? 0 : 1, kMostTokens);
  request.max_tokens = most;
}

/// What both of OpenAI's interfaces have.
void ReadCommon(JsonFields& fields, GenerationRequest& request) {
  fields.Text("model", request.model);
  ReadSampling(fields, request);
  ReadMaxTokens(fields, "max_tokens", request);
  fields.Texts("stop", request.stop, kMostStops);
  fields.Integer("n", request.n, 1, kMostChoices);
  fields.Bool("stream", request.stream);
  fields.Integer("priority", request.priority, -100, 100);
  ReadOctetFields(fields, request);
  if (const nlohmann::json* options = fields.Find("stream_options")) {
    if (!options->is_object()) {
      return fields.Fail("stream_options", "stream_options: expected an object");
    }
    const auto usage = options->find("include_usage");
    request.include_usage = usage != options->end() && *usage == true;
  }
  fields.Refuse("functions", "use tools");
  fields.Refuse("function_call", "use tool_choice");
}

ApiResult<GenerationRequest> Finish(const JsonFields& fields, GenerationRequest request) {
  if (!fields.ok()) return tl::unexpected(fields.error());
  return request;
}

bool ReadIds(const nlohmann::json& array, std::vector<int32_t>& ids) {
  for (const nlohmann::json& id : array) {
    if (!id.is_number_integer()) return false;
    const auto value = id.get<int64_t>();
    if (value < 0 || value > std::numeric_limits<int32_t>::max()) return false;
    ids.push_back(static_cast<int32_t>(value));
  }
  return true;
}

/// A string, token ids, or an array of either.
void ReadPrompts(JsonFields& fields, const char* name, std::vector<PromptText>& prompts) {
  const nlohmann::json* prompt = fields.Find(name);
  const auto fault = [&] {
    fields.Fail(name, fmt::format("{}: expected a string, an array of token ids, or an array of "
                                  "either",
                                  name));
  };
  if (prompt == nullptr) return fault();
  const auto add = [&](const nlohmann::json& one) {
    if (one.is_string()) {
      prompts.emplace_back(one.get<std::string>());
      return true;
    }
    std::vector<int32_t> ids;
    if (!one.is_array() || !ReadIds(one, ids)) return false;
    prompts.emplace_back(std::move(ids));
    return true;
  };
  if (prompt->is_string() || (prompt->is_array() && !prompt->empty() && (*prompt)[0].is_number())) {
    if (!add(*prompt)) fault();
    return;
  }
  if (!prompt->is_array() || prompt->empty()) return fault();
  if (prompt->size() > static_cast<size_t>(kMostChoices)) {
    return fields.Fail(name, fmt::format("{}: {} texts, at most {} work at once", name,
                                         prompt->size(), kMostChoices));
  }
  for (const nlohmann::json& one : *prompt) {
    if (!add(one)) return fault();
  }
}

/// Mistral's switch; the words are Octet's.
void ReadSafePrompt(JsonFields& fields, GenerationRequest& request) {
  bool safe = false;
  fields.Bool("safe_prompt", safe);
  if (!safe || !fields.ok()) return;
  const std::string words =
      "Be helpful, honest and kind. Decline to help with anything harmful, unethical or hateful, "
      "and say so politely.";
  if (request.messages.front().role == "system") {
    request.messages.front().content = words + "\n\n" + request.messages.front().content;
  } else {
    request.messages.insert(request.messages.begin(), {"system", words});
  }
}

}  // namespace

ApiResult<GenerationRequest> ParseMessages(const nlohmann::json& body) {
  JsonFields fields(body);
  GenerationRequest request;
  fields.Text("model", request.model);
  ReadMessages(fields, request);
  return Finish(fields, std::move(request));
}

ApiResult<GenerationRequest> ParseChatRequest(const nlohmann::json& body) {
  JsonFields fields(body);
  GenerationRequest request;
  ReadCommon(fields, request);
  ReadMaxTokens(fields, "max_completion_tokens", request);
  ReadMessages(fields, request);
  ReadSafePrompt(fields, request);
  bool logprobs = false;
  fields.Bool("logprobs", logprobs);
  int32_t top = 0;
  fields.Integer("top_logprobs", top, 0, kMostLogProbs);
  if (logprobs) request.top_logprobs = top;
  if (!logprobs && top > 0) {
    fields.Fail("top_logprobs", "top_logprobs needs \"logprobs\": true");
  }
  fields.Refuse("audio", "only text is supported");
  return Finish(fields, std::move(request));
}

ApiResult<GenerationRequest> ParseCompletionRequest(const nlohmann::json& body) {
  JsonFields fields(body);
  GenerationRequest request;
  request.max_tokens = 16;  // OpenAI's default
  fields.Bool("echo", request.echo);
  ReadCommon(fields, request);
  ReadPrompts(fields, "prompt", request.prompts);
  fields.Integer("logprobs", request.top_logprobs, 0, kMostLogProbs);
  int32_t best_of = request.n;
  fields.Integer("best_of", best_of, 1, kMostChoices);
  if (best_of != request.n) fields.Fail("best_of", "best_of: only the value of n is supported");
  fields.Refuse("suffix", "text after the answer is not supported");
  const auto choices = static_cast<int64_t>(request.prompts.size()) * request.n;
  if (choices > kMostChoices) {
    fields.Fail("n", fmt::format("{} prompts with {} answers each are {} answers, at most {} work",
                                 request.prompts.size(), request.n, choices, kMostChoices));
  }
  return Finish(fields, std::move(request));
}

ApiResult<GenerationRequest> ParseMessagesRequest(const nlohmann::json& body) {
  JsonFields fields(body);
  GenerationRequest request;
  fields.Text("model", request.model);
  ReadSampling(fields, request);
  ReadMaxTokens(fields, "max_tokens", request);
  if (!request.max_tokens) fields.Fail("max_tokens", "max_tokens: Field required");
  fields.Texts("stop_sequences", request.stop, kMostStops);
  fields.Bool("stream", request.stream);
  ReadOctetWishes(fields, request);
  // An answer's beginning may stand at the end of the messages.
  nlohmann::json with_prefix = body;
  auto& messages = with_prefix["messages"];
  if (messages.is_array() && !messages.empty() && messages.back().is_object()) {
    messages.back()["prefix"] = true;
  }
  JsonFields message_fields(with_prefix);
  ReadMessages(message_fields, request);
  if (fields.ok() && !message_fields.ok()) return tl::unexpected(message_fields.error());
  ChatMessage system{"system", {}};
  if (fields.Find("system") != nullptr) {
    ToolHistory none;
    ReadContent(fields, {{"content", body["system"]}}, "system", system.content, none);
    if (!system.content.empty()) request.messages.insert(request.messages.begin(), system);
  }
  return Finish(fields, std::move(request));
}

ApiResult<EmbeddingsRequest> ParseEmbeddingsRequest(const nlohmann::json& body) {
  JsonFields fields(body);
  EmbeddingsRequest request;
  std::string format = "float";
  fields.Text("model", request.model);
  fields.Text("encoding_format", format);
  if (format != "float" && format != "base64") {
    fields.Fail("encoding_format", "encoding_format: expected \"float\" or \"base64\"");
  }
  request.base64 = format == "base64";
  ReadPrompts(fields, "input", request.inputs);
  GenerationRequest wishes;
  ReadOctetWishes(fields, wishes);
  request.adapter = wishes.adapter;
  if (wishes.expert_top_k > 0 || !wishes.masked_experts.empty())
    fields.Fail("octet", "octet: embeddings have an adapter alone");
  fields.Refuse("dimensions", "vectors have the model's width");
  if (!fields.ok()) return tl::unexpected(fields.error());
  return request;
}

namespace {

/// Items of a response's input as messages: calls of functions and their outputs have no role.
nlohmann::json MessagesOfItems(const nlohmann::json& items) {
  if (!items.is_array()) return items;
  nlohmann::json messages = nlohmann::json::array();
  bool after_call = false;
  for (const nlohmann::json& item : items) {
    const nlohmann::json type =
        item.is_object() ? item.value("type", nlohmann::json()) : nlohmann::json();
    if (type == "function_call") {
      if (!after_call) {
        messages.push_back({{"role", "assistant"}, {"tool_calls", nlohmann::json::array()}});
      }
      messages.back()["tool_calls"].push_back(item);
    } else if (type == "function_call_output") {
      messages.push_back({{"role", "tool"},
                          {"tool_call_id", item.value("call_id", nlohmann::json())},
                          {"content", item.value("output", nlohmann::json())}});
    } else {
      messages.push_back(item);
    }
    after_call = type == "function_call";
  }
  return messages;
}

}  // namespace

ApiResult<GenerationRequest> ParseResponsesRequest(const nlohmann::json& body) {
  JsonFields fields(body);
  GenerationRequest request;
  fields.Text("model", request.model);
  ReadSampling(fields, request);
  ReadMaxTokens(fields, "max_output_tokens", request);
  fields.Bool("stream", request.stream);
  ReadOctetWishes(fields, request);
  fields.Refuse("previous_response_id", "answers are not stored; send the whole conversation");
  fields.Refuse("conversation", "conversations are not stored; send the whole one");
  fields.Refuse("background", "answers are given while the client waits");
  // A text alone is the user's.
  const nlohmann::json* input = fields.Find("input");
  nlohmann::json messages = {{"messages", nlohmann::json::array()}};
  if (input != nullptr && input->is_string()) {
    messages["messages"].push_back({{"role", "user"}, {"content", *input}});
  } else if (input != nullptr) {
    messages["messages"] = MessagesOfItems(*input);
  } else {
    fields.Fail("input", "input: expected a text or an array of messages");
  }
  JsonFields message_fields(messages);
  if (fields.ok()) ReadMessages(message_fields, request);
  if (fields.ok() && !message_fields.ok()) return tl::unexpected(message_fields.error());
  std::string instructions;
  fields.Text("instructions", instructions);
  if (!instructions.empty() && fields.ok()) {
    request.messages.insert(request.messages.begin(), {"system", instructions});
  }
  return Finish(fields, std::move(request));
}

}  // namespace octet
