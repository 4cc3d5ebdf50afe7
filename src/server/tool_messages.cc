#include "server/tool_messages.h"

#include "constrain/tool_grammar.h"
#include "server/api_error.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;

std::string CallText(const Json& call) {
  return std::string(kToolCallBegin) + Dump(call["name"]) + std::string(kToolArguments) +
         Dump(call["arguments"]) + "}";
}

/// A string, or parts of text.
std::string TextOf(const nlohmann::json& content) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) return {};
  std::string text;
  for (const nlohmann::json& part : content) {
    if (part.is_object() && part.contains("text") && part["text"].is_string()) {
      text += part["text"].get<std::string>();
    }
  }
  return text;
}

std::string StringOf(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

std::string ToolPrompt(const std::vector<ToolSpec>& tools, bool must, const std::string& name) {
  std::string text = "You can call these tools:\n";
  for (const ToolSpec& tool : tools) {
    Json shown = {{"name", tool.name}};
    if (!tool.description.empty()) shown["description"] = tool.description;
    shown["parameters"] = tool.parameters;
    text += Dump(shown) + "\n";
  }
  text += "To call tools, answer with one line and nothing else, an object for each call:\n" +
          std::string(kToolCallsBegin) + std::string(kToolCallBegin) + "\"TOOL\"" +
          std::string(kToolArguments) + "{…}}]\nTheir results come back as [TOOL_RESULTS]. ";
  if (!must) return text + "Where no tool is needed, answer in words.";
  return text + (name.empty() ? "Call a tool now." : "Call the tool " + name + " now.");
}

void ToolHistory::Add(const std::string& id, const std::string& name, Json arguments) {
  names_[id] = name;
  calls_.push_back({{"name", name}, {"arguments", std::move(arguments)}});
}

bool ToolHistory::AddCall(const nlohmann::json& call) {
  if (!call.is_object()) return false;
  // OpenAI's responses have the function's fields beside the others.
  const nlohmann::json& function = call.contains("function") ? call["function"] : call;
  if (!function.is_object() || StringOf(function, "name").empty()) return false;
  Json arguments = Json::object();
  if (const auto given = function.find("arguments"); given != function.end()) {
    if (given->is_string()) {
      arguments = Json::parse(given->get<std::string>(), nullptr, false);
      if (arguments.is_discarded()) arguments = given->get<std::string>();
    } else {
      arguments = Json(*given);
    }
  }
  const std::string id = StringOf(call, "call_id");
  Add(id.empty() ? StringOf(call, "id") : id, StringOf(function, "name"), std::move(arguments));
  return true;
}

bool ToolHistory::AddPart(const nlohmann::json& part, std::string& out) {
  const std::string type = StringOf(part, "type");
  if (type == "tool_use") {
    if (StringOf(part, "name").empty()) return false;
    Add(StringOf(part, "id"), StringOf(part, "name"), Json(part.value("input", nlohmann::json())));
    return true;
  }
  if (type != "tool_result") return false;
  if (!out.empty()) out += "\n";
  out += Result(StringOf(part, "tool_use_id"), TextOf(part.value("content", nlohmann::json())));
  return true;
}

std::string ToolHistory::TakeCalls() {
  if (calls_.empty()) return {};
  std::string text(kToolCallsBegin);
  for (size_t i = 0; i < calls_.size(); ++i) {
    text += (i > 0 ? std::string(kToolCallSeparator) : std::string()) + CallText(calls_[i]);
  }
  calls_ = Json::array();
  return text + "]";
}

std::string ToolHistory::Result(const std::string& call_id, const std::string& content) const {
  Json result = Json::object();
  const auto name = names_.find(call_id);
  if (name != names_.end()) result["name"] = name->second;
  result["content"] = content;
  return "[TOOL_RESULTS] " + Dump(result);
}

}  // namespace octet
