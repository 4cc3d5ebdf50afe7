#include "constrain/tool_grammar.h"

#include "constrain/json_grammar.h"
#include "constrain/schema.h"

namespace octet {
namespace {

constexpr size_t kMostBytes = 1u << 20;
constexpr int32_t kMostCalls = 16;

/// Any text that does not begin with the mark.
ExprId PlainText(GrammarBuilder& builder) {
  const ExprId any = builder.Shared("text", builder.Repeat(builder.Class(Complement({})), 0, -1));
  ExprId out = -1;
  for (size_t i = kToolCallsMark.size(); i-- > 0;) {
    const auto c = static_cast<char32_t>(kToolCallsMark[i]);
    std::vector<ExprId> ways = {builder.Empty(),
                                builder.Sequence({builder.Class(Complement({{c, c}})), any})};
    if (out >= 0)
      ways.push_back(builder.Sequence({builder.Literal(kToolCallsMark.substr(i, 1)), out}));
    out = builder.Alternatives(std::move(ways));
  }
  return out;
}

}  // namespace

Result<Grammar> ToolGrammar(std::string_view wish) {
  if (wish.size() > kMostBytes) {
    return Err(ErrorCode::kInvalidArgument, "the tools have {} bytes, at most {} work", wish.size(),
               kMostBytes);
  }
  OCTET_ASSIGN(const nlohmann::ordered_json json, ParseOrderedJson(wish, "the tools"));
  const bool is_wish = json.is_object() && json.contains("tools") && json["tools"].is_array() &&
                       !json["tools"].empty();
  if (!is_wish) return Err(ErrorCode::kInvalidArgument, "expected an object with tools");
  GrammarBuilder builder;
  JsonParts parts(builder);
  std::vector<ExprId> calls;
  for (const nlohmann::ordered_json& tool : json["tools"]) {
    const bool named = tool.is_object() && tool.contains("name") && tool["name"].is_string();
    if (!named) return Err(ErrorCode::kInvalidArgument, "a tool has no name");
    // Arguments are an object whatever the schema leaves open.
    nlohmann::ordered_json schema = {{"type", "object"}};
    if (tool.contains("parameters") && tool["parameters"].is_object()) schema = tool["parameters"];
    const bool is_object = !schema.contains("type") || schema["type"] == "object";
    schema["type"] = "object";
    auto arguments = is_object ? AddSchema(schema, builder, parts)
                               : Err(ErrorCode::kInvalidArgument, "its type is not \"object\"");
    if (!arguments) {
      return Err(ErrorCode::kInvalidArgument, "parameters of the tool \"{}\": {}",
                 tool["name"].get<std::string>(), arguments.error().message);
    }
    calls.push_back(
        builder.Sequence({builder.Literal(kToolCallBegin), parts.Exactly(tool["name"]),
                          builder.Literal(kToolArguments), *arguments, builder.Literal("}")}));
  }
  const ExprId call = builder.Shared("call", builder.Alternatives(std::move(calls)));
  const bool parallel = json.value("parallel", true);
  const ExprId more = builder.Repeat(builder.Sequence({builder.Literal(kToolCallSeparator), call}),
                                     0, parallel ? kMostCalls - 1 : 0);
  const ExprId all =
      builder.Sequence({builder.Literal(kToolCallsBegin), call, more, builder.Literal("]")});
  const int32_t root = builder.DeclareRule("the answer");
  const bool required = json.value("required", false);
  builder.DefineRule(root, required ? all : builder.Alternatives({all, PlainText(builder)}));
  return builder.Finish(root);
}

}  // namespace octet
