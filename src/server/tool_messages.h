// Tools in a conversation's text: how the model is told of them, what it wrote to call them, and
// what came back. docs/guides/serve.md shows the prompt.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace octet {

struct ToolSpec {
  std::string name, description;
  nlohmann::ordered_json parameters;  // a JSON schema of an object
};

/// The tools as a system message says them. `must`: the answer has to call one; of this name where
/// it is not empty.
std::string ToolPrompt(const std::vector<ToolSpec>& tools, bool must, const std::string& name);

/// Calls and results of earlier turns, in the order of the messages.
class ToolHistory {
 public:
  /// One of OpenAI's "tool_calls"; false when it is none.
  bool AddCall(const nlohmann::json& call);
  /// A part of Anthropic's content of type tool_use or tool_result, whose text goes to `out`; false
  /// when it is another.
  bool AddPart(const nlohmann::json& part, std::string& out);
  /// The calls since the last time, as the assistant wrote them; empty without any.
  std::string TakeCalls();
  bool Knows(const std::string& call_id) const { return names_.contains(call_id); }
  /// A result's line.
  std::string Result(const std::string& call_id, const std::string& content) const;

 private:
  void Add(const std::string& id, const std::string& name, nlohmann::ordered_json arguments);

  std::map<std::string, std::string> names_;  // of tools, by the ids of their calls
  nlohmann::ordered_json calls_ = nlohmann::ordered_json::array();
};

}  // namespace octet
