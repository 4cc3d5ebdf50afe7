#include "server/answer_shape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/json_fields.h"
#include "server/tool_calls.h"

namespace octet {
namespace {

using ::testing::HasSubstr;

constexpr const char* kUser = R"("messages": [{"role": "user", "content": "hi"}])";
constexpr const char* kTools = R"("tools": [{"type": "function", "function": {"name": "add",
  "description": "Adds.", "parameters": {"type": "object", "properties": {"z": {"type": "integer"},
  "a": {"type": "integer"}}}}}])";

ApiResult<GenerationRequest> Read(const std::string& fields, Interface interface) {
  const std::string text = "{" + fields + "}";
  const auto body = ParseBody(text);
  if (!body) return tl::unexpected(body.error());
  auto request = interface == Interface::kChat        ? ParseChatRequest(*body)
                 : interface == Interface::kMessages  ? ParseMessagesRequest(*body)
                 : interface == Interface::kResponses ? ParseResponsesRequest(*body)
                                                      : ParseCompletionRequest(*body);
  if (!request) return request;
  if (const auto shape = ReadAnswerShape(text, interface, *request); !shape) {
    return tl::unexpected(shape.error());
  }
  return request;
}

ApiResult<GenerationRequest> Chat(const std::string& fields) {
  return Read(std::string(kUser) + ", " + fields, Interface::kChat);
}

std::string Fault(const std::string& fields) {
  const auto request = Chat(fields);
  return request ? "none" : request.error().param + " | " + request.error().message;
}

TEST(AnswerShape, ReadsFormatsUnderTheirNames) {
  using Kind = Constraint::Kind;
  const Constraint schema{Kind::kJsonSchema, R"({"z":1,"a":2})"};
  const std::string text = R"({"z": 1, "a": 2})";
  for (const std::string& fields :
       {R"("response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true,
           "schema": )" +
            text + "}}",
        R"("response_format": {"type": "json_object", "schema": )" + text + "}",
        "\"guided_json\": " + text, "\"json_schema\": " + text,
        "\"structured_outputs\": {\"json\": " + text + "}"}) {
    const auto request = Chat(fields);
    ASSERT_TRUE(request) << request.error().message;
    EXPECT_EQ(request->constraint, schema) << fields << request->constraint.text;
  }
  EXPECT_EQ(Chat(R"("response_format": {"type": "json_object"})")->constraint.kind, Kind::kJson);
  EXPECT_EQ(Chat(R"("response_format": {"type": "text"})")->constraint.kind, Kind::kNone);
  EXPECT_EQ(Chat(R"("grammar": "root ::= \"a\"")")->constraint,
            (Constraint{Kind::kGrammar, "root ::= \"a\""}));
  EXPECT_EQ(Chat(R"("guided_choice": ["a\"b", "c\n"])")->constraint.text,
            R"(root ::= "a\"b" | "c\x0a")");
  const auto response = Read(R"("input": "hi", "text": {"format": {"type": "json_schema", "name":
    "n", "schema": {"z": 1, "a": 2}}})",
                             Interface::kResponses);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->constraint, schema);
}

TEST(AnswerShape, NamesTheFieldThatIsWrong) {
  EXPECT_THAT(Fault(R"("response_format": {"type": "yaml"})"), HasSubstr("response_format |"));
  EXPECT_THAT(Fault(R"("response_format": {"type": "json_schema"})"), HasSubstr("a JSON schema"));
  EXPECT_THAT(Fault(R"("grammar": 5)"), HasSubstr("GBNF"));
  for (const char* regex :
       {R"("guided_regex": "[ab]+")", R"("structured_outputs": {"regex": "[ab]+"})"}) {
    const auto request = Chat(regex);
    EXPECT_EQ(request->constraint, (Constraint{Constraint::Kind::kRegex, "[ab]+"}));
  }
  EXPECT_THAT(Fault(R"("guided_regex": 5)"), HasSubstr("guided_regex: expected a regular"));
  EXPECT_THAT(Fault(R"("guided_choice": [1])"), HasSubstr("array of texts"));
  EXPECT_THAT(Fault(R"("grammar": "root ::= .", "guided_json": {})"), HasSubstr("together"));
  EXPECT_THAT(Fault(R"("tools": [{"type": "retrieval"}])"), HasSubstr("tools[0] |"));
  EXPECT_THAT(Fault(R"("tools": [{"type": "function", "function": {"name": "a b"}}])"),
              HasSubstr("tools[0].name"));
  EXPECT_THAT(Fault(std::string(kTools) + R"(, "tool_choice": "sometimes")"), HasSubstr("auto"));
  EXPECT_THAT(Fault(std::string(kTools) + R"(, "tool_choice": {"type": "function", "function":
    {"name": "sub"}})"),
              HasSubstr("no tool \"sub\""));
  EXPECT_THAT(Fault(R"("tool_choice": "required")"), HasSubstr("no tools"));
  EXPECT_EQ(Fault(R"("tools": [], "tool_choice": "auto")"), "none");
}

TEST(AnswerShape, TellsTheModelOfItsTools) {
  const auto request = Chat(kTools);
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_TRUE(request->calls_tools);
  ASSERT_EQ(request->messages.size(), 2u);
  EXPECT_EQ(request->messages[0].role, "system");
  EXPECT_THAT(request->messages[0].content,
              HasSubstr(R"({"name":"add","description":"Adds.","parameters":{"type":"object",)"
                        R"("properties":{"z":{"type":"integer"},"a")"));
  EXPECT_EQ(request->constraint.kind, Constraint::Kind::kToolCalls);
  EXPECT_THAT(request->constraint.text, HasSubstr(R"("required":false,"parallel":true)"));
  const auto none = Chat(std::string(kTools) + R"(, "tool_choice": "none")");
  EXPECT_FALSE(none->calls_tools);
  EXPECT_EQ(none->messages.size(), 1u);
  const auto one = Read(std::string(kUser) + R"(, "max_tokens": 9, "tools": [{"name": "f",
    "input_schema": {"type": "object"}}, {"name": "g", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "tool", "name": "g", "disable_parallel_tool_use": true})",
                        Interface::kMessages);
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->constraint.text,
            R"({"tools":[{"name":"g","parameters":{"type":"object"}}],"required":true,)"
            R"("parallel":false})");
}

TEST(ToolMessages, ShowCallsAndResultsAsTheModelWroteAndSawThem) {
  const std::vector<std::pair<std::string, Interface>> forms = {
      {R"("messages": [{"role": "user", "content": "1+2?"}, {"role": "assistant", "content": null,
          "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments":
          "{\"z\": 1, \"a\": 2}"}}]}, {"role": "tool", "tool_call_id": "c1", "content": "3"},
          {"role": "user", "content": "And?"}])",
       Interface::kChat},
      {R"("max_tokens": 5, "messages": [{"role": "user", "content": "1+2?"}, {"role": "assistant",
          "content": [{"type": "tool_use", "id": "c1", "name": "add", "input": {"z": 1, "a": 2}}]},
          {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "3"}]},
          {"role": "user", "content": "And?"}])",
       Interface::kMessages},
      {R"("input": [{"role": "user", "content": "1+2?"}, {"type": "function_call", "call_id": "c1",
          "name": "add", "arguments": "{\"z\": 1, \"a\": 2}"}, {"type": "function_call_output",
          "call_id": "c1", "output": "3"}, {"role": "user", "content": "And?"}])",
       Interface::kResponses}};
  for (const auto& [fields, interface] : forms) {
    const auto request = Read(fields, interface);
    ASSERT_TRUE(request) << request.error().message;
    EXPECT_THAT(request->messages[1].content,
                HasSubstr(R"([TOOL_CALLS] [{"name": "add", "arguments": {)"));
    EXPECT_THAT(request->messages[2].content,
                HasSubstr(R"([TOOL_RESULTS] {"name":"add","content":"3"})"));
    EXPECT_EQ(request->messages.back().role, "user");
    EXPECT_THAT(request->messages.back().content, HasSubstr("And?"));
  }
}

TEST(ToolCallReader, FindsCallsHoweverTheTextComes) {
  const std::string text = R"([TOOL_CALLS] [{"name": "f", "arguments": {"a": "}]\"", "b": [{}]}}, )"
                           R"({"name": "g", "arguments": {}}])";
  for (size_t step = 1; step < text.size(); ++step) {
    ToolCallReader reader("id_");
    std::string plain;
    std::vector<std::string> arguments;
    for (size_t at = 0; at < text.size(); at += step) {
      std::vector<ToolDelta> deltas;
      reader.Push(std::string_view(text).substr(at, step), plain, deltas);
      for (const ToolDelta& delta : deltas) {
        if (delta.begins) arguments.emplace_back();
        arguments[delta.call] += delta.arguments;
      }
    }
    reader.Flush(plain);
    EXPECT_EQ(plain, "");
    EXPECT_TRUE(reader.complete());
    ASSERT_EQ(reader.calls().size(), 2u);
    EXPECT_EQ(reader.calls()[0].name, "f");
    EXPECT_EQ(reader.calls()[0].arguments, R"({"a": "}]\"", "b": [{}]})");
    EXPECT_EQ(reader.calls()[1].id, "id_1");
    EXPECT_EQ(arguments[1], "{}");
  }
}

TEST(ToolCallReader, LeavesTextAlone) {
  for (const std::string text : {"", "Hello", "[TOOL", "[TOOLS] x", "a [TOOL_CALLS] ["}) {
    ToolCallReader reader;
    std::string plain;
    std::vector<ToolDelta> deltas;
    for (const char c : text) reader.Push({&c, 1}, plain, deltas);
    reader.Flush(plain);
    EXPECT_EQ(plain, text);
    EXPECT_FALSE(reader.complete());
  }
}

}  // namespace
}  // namespace octet
