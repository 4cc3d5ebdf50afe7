#include "server/answer_shape.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/tool_messages.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostTools = 128;
constexpr size_t kLongestName = 64;

class ShapeReader {
 public:
  ShapeReader(const Json& body, Interface interface, GenerationRequest& request)
      : body_(body), interface_(interface), request_(request) {}
  ApiResult<void> Read();

 private:
  const Json* Find(const Json& object, const char* key) const {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(key);
    return found == object.end() || found->is_null() ? nullptr : &*found;
  }
  std::string Text(const Json& object, const char* key) const {
    const Json* value = Find(object, key);
    return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
  }
  void Fail(const std::string& field, const std::string& why) {
    if (!error_) error_ = ApiError{400, field + ": " + why, field};
  }
  void Constrain(const std::string& field, Constraint constraint);
  void ReadFormat(const Json& format, const std::string& field);
  void ReadSchema(const Json* schema, const std::string& field);
  void ReadChoice(const Json& choices, const std::string& field);
  void ReadGrammars(const Json& object, const std::string& prefix);
  void ReadTools();
  bool ReadTool(const Json& tool, const std::string& field);
  void ReadToolChoice();
  void UseTools();

  const Json& body_;
  Interface interface_;
  GenerationRequest& request_;
  std::optional<ApiError> error_;
  std::string constrained_by_;
  std::vector<ToolSpec> tools_;
  bool none_ = false, must_ = false, parallel_ = true;
  std::string only_;  // the tool to be called
};

void ShapeReader::Constrain(const std::string& field, Constraint constraint) {
  if (!constrained_by_.empty()) {
    return Fail(field, "it cannot be used together with " + constrained_by_);
  }
  constrained_by_ = field;
  request_.constraint = std::move(constraint);
}

void ShapeReader::ReadSchema(const Json* schema, const std::string& field) {
  // vLLM takes a schema's text too.
  if (schema != nullptr && schema->is_string()) {
    return Constrain(field, {Constraint::Kind::kJsonSchema, schema->get<std::string>()});
  }
  if (schema == nullptr || !(schema->is_object() || schema->is_boolean())) {
    return Fail(field, "expected a JSON schema");
  }
  Constrain(field, {Constraint::Kind::kJsonSchema, Dump(*schema)});
}

/// OpenAI's response_format and text.format, Anthropic's output format.
void ShapeReader::ReadFormat(const Json& format, const std::string& field) {
  const std::string type = Text(format, "type");
  if (type == "text") return;
  if (type == "json_object") {
    // llama.cpp puts a schema beside it.
    if (const Json* schema = Find(format, "schema")) return ReadSchema(schema, field + ".schema");
    return Constrain(field, {Constraint::Kind::kJson, {}});
  }
  if (type == "json_schema") {
    const Json* nested = Find(format, "json_schema");
    const std::string place = field + (nested != nullptr ? ".json_schema.schema" : ".schema");
    const Json* schema = Find(nested != nullptr ? *nested : format, "schema");
    // Mistral's client names it so.
    if (schema == nullptr && nested != nullptr) schema = Find(*nested, "schema_definition");
    return ReadSchema(schema, place);
  }
  if (type == "grammar") {
    return Constrain(field, {Constraint::Kind::kGrammar, Text(format, "grammar")});
  }
  Fail(field, "expected {\"type\": \"text\"}, \"json_object\" or \"json_schema\"");
}

void ShapeReader::ReadChoice(const Json& choices, const std::string& field) {
  std::string grammar = "root ::=";
  for (const Json& choice : choices) {
    if (!choice.is_string()) break;
    grammar += grammar.back() == '=' ? " \"" : " | \"";
    for (const char c : choice.get<std::string>()) {
      const auto byte = static_cast<uint8_t>(c);
      if (byte < 0x20) {
        grammar += fmt::format("\\x{:02x}", byte);
      } else {
        if (c == '"' || c == '\\') grammar += '\\';
        grammar += c;
      }
    }
    grammar += '"';
  }
  const bool texts = choices.is_array() && !choices.empty() &&
                     std::ranges::all_of(choices, [](const Json& c) { return c.is_string(); });
  if (!texts) return Fail(field, "expected an array of texts");
  Constrain(field, {Constraint::Kind::kGrammar, std::move(grammar)});
}

/// llama.cpp's and vLLM's names for the same.
void ShapeReader::ReadGrammars(const Json& object, const std::string& prefix) {
  for (const char* key : {"grammar", "guided_grammar"}) {
    const Json* grammar = Find(object, key);
    if (grammar == nullptr) continue;
    if (!grammar->is_string()) return Fail(prefix + key, "expected a grammar in GBNF");
    auto text = grammar->get<std::string>();
    if (!text.empty()) Constrain(prefix + key, {Constraint::Kind::kGrammar, std::move(text)});
  }
  for (const char* key : {"json_schema", "guided_json", "json"}) {
    if (prefix.empty() && std::string_view(key) == "json") continue;
    const Json* schema = Find(object, key);
    if (schema != nullptr) ReadSchema(schema, prefix + key);
  }
  for (const char* key : {"guided_choice", "choice"}) {
    if (prefix.empty() && std::string_view(key) == "choice") continue;
    if (const Json* choice = Find(object, key)) ReadChoice(*choice, prefix + key);
  }
  for (const char* key : {"guided_regex", "regex"}) {
    if (prefix.empty() && std::string_view(key) == "regex") continue;
    const Json* regex = Find(object, key);
    if (regex == nullptr) continue;
    if (!regex->is_string()) return Fail(prefix + key, "expected a regular expression");
    Constrain(prefix + key, {Constraint::Kind::kRegex, regex->get<std::string>()});
  }
}

bool ShapeReader::ReadTool(const Json& tool, const std::string& field) {
  const bool anthropic = interface_ == Interface::kMessages;
  const std::string type = Text(tool, "type");
  const std::string expected = anthropic ? "custom" : "function";
  if (!tool.is_object() || (type != expected && !(anthropic && type.empty()))) {
    Fail(field, "only tools of type \"" + expected + "\" are supported");
    return false;
  }
  const Json* function = Find(tool, "function");
  const Json& spec = interface_ == Interface::kChat && function != nullptr ? *function : tool;
  ToolSpec out{Text(spec, "name"), Text(spec, "description"), Json::object({{"type", "object"}})};
  const bool plain = !out.name.empty() && out.name.size() <= kLongestName &&
                     std::ranges::all_of(out.name, [](char c) {
                       return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                              (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
                     });
  if (!plain) {
    Fail(field + ".name", "expected 1 to 64 letters, digits, _ - or .");
    return false;
  }
  for (const ToolSpec& other : tools_) {
    if (other.name == out.name) Fail(field + ".name", "\"" + out.name + "\" is there already");
  }
  const Json* parameters = Find(spec, anthropic ? "input_schema" : "parameters");
  if (parameters != nullptr) {
    if (!parameters->is_object()) {
      Fail(field, "the schema of its arguments is not an object");
      return false;
    }
    out.parameters = *parameters;
  }
  tools_.push_back(std::move(out));
  return true;
}

void ShapeReader::ReadTools() {
  const Json* tools = Find(body_, "tools");
  if (tools == nullptr) return;
  if (!tools->is_array()) return Fail("tools", "expected an array");
  if (tools->size() > kMostTools) {
    return Fail("tools", fmt::format("{} tools, at most {} work", tools->size(), kMostTools));
  }
  for (size_t i = 0; i < tools->size(); ++i) {
    if (!ReadTool((*tools)[i], fmt::format("tools[{}]", i))) return;
  }
}

/// "auto", "none", "required" or "any", or a tool: as a word, or as an object with a "type".
void ShapeReader::ReadToolChoice() {
  if (const Json* parallel = Find(body_, "parallel_tool_calls")) parallel_ = *parallel != false;
  const Json* choice = Find(body_, "tool_choice");
  if (choice == nullptr) return;
  const Json* serial = Find(*choice, "disable_parallel_tool_use");
  if (serial != nullptr && *serial == true) parallel_ = false;
  const std::string kind = choice->is_string() ? choice->get<std::string>() : Text(*choice, "type");
  if (kind == "auto") return;
  none_ = kind == "none";
  must_ = kind == "required" || kind == "any";
  if (kind == "function" || kind == "tool") {
    const Json* function = Find(*choice, "function");
    only_ = Text(function != nullptr ? *function : *choice, "name");
    must_ = true;
    const bool known =
        std::ranges::any_of(tools_, [&](const ToolSpec& t) { return t.name == only_; });
    if (!known) Fail("tool_choice", "there is no tool \"" + only_ + "\"");
  }
  if (!none_ && !must_) {
    Fail("tool_choice", "expected auto, none, required, or the name of a tool");
  }
  if (must_ && tools_.empty()) Fail("tool_choice", "there are no tools");
}

void ShapeReader::UseTools() {
  if (tools_.empty() || none_) return;
  Json wish = {{"tools", Json::array()}, {"required", must_}, {"parallel", parallel_}};
  for (const ToolSpec& tool : tools_) {
    if (!only_.empty() && tool.name != only_) continue;
    wish["tools"].push_back({{"name", tool.name}, {"parameters", tool.parameters}});
  }
  if (request_.continue_last) {
    return Fail("tools", "an answer that is begun already cannot call tools");
  }
  Constrain("tools", {Constraint::Kind::kToolCalls, Dump(wish)});
  request_.calls_tools = true;
  const std::string prompt = ToolPrompt(tools_, must_, only_);
  if (request_.messages.empty()) return;
  if (request_.messages.front().role == "system") {
    request_.messages.front().content += "\n\n" + prompt;
  } else {
    request_.messages.insert(request_.messages.begin(), {"system", prompt});
  }
}

ApiResult<void> ShapeReader::Read() {
  if (const Json* format = Find(body_, "response_format")) ReadFormat(*format, "response_format");
  ReadGrammars(body_, "");
  if (const Json* outputs = Find(body_, "structured_outputs")) {
    ReadGrammars(*outputs, "structured_outputs.");
  }
  if (interface_ == Interface::kResponses) {
    const Json* text = Find(body_, "text");
    const Json* format = text != nullptr ? Find(*text, "format") : nullptr;
    if (format != nullptr) ReadFormat(*format, "text.format");
  }
  if (interface_ == Interface::kMessages) {
    const Json* config = Find(body_, "output_config");
    const Json* format = config != nullptr ? Find(*config, "format") : Find(body_, "output_format");
    if (format != nullptr) ReadFormat(*format, "output_config.format");
  }
  if (interface_ != Interface::kCompletions) {
    ReadTools();
    ReadToolChoice();
    UseTools();
  }
  if (error_) return tl::unexpected(*error_);
  return {};
}

}  // namespace

ApiResult<void> ReadAnswerShape(std::string_view body, Interface interface,
                                GenerationRequest& request) {
  constexpr std::string_view kNames[] = {
      "\"response_format\"", "\"grammar\"",     "\"guided_",  "\"structured_outputs\"", "\"tools\"",
      "\"tool_choice\"",     "\"json_schema\"", "\"format\"", "\"output_format\"",      "\\u"};
  const bool any = std::ranges::any_of(
      kNames, [&](std::string_view name) { return body.find(name) != std::string_view::npos; });
  if (!any) return {};
  const Json json = Json::parse(body, nullptr, false);
  if (!json.is_object()) return tl::unexpected(ApiError{400, "the body is not a JSON object"});
  return ShapeReader(json, interface, request).Read();
}

}  // namespace octet
