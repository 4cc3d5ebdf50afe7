#include "constrain/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "constrain/constrain_testing.h"
#include "constrain/constraint.h"
#include "constrain/tool_grammar.h"

namespace octet {
namespace {

using ::testing::HasSubstr;

class Schema {
 public:
  explicit Schema(Result<Grammar> grammar) {
    auto program = grammar ? CompileGrammar(*grammar) : tl::unexpected(std::move(grammar).error());
    if (program) {
      automaton_ = std::make_unique<Automaton>(*std::move(program), trie_);
    } else {
      fault_ = program.error().message;
    }
  }
  explicit Schema(std::string_view text) : Schema(SchemaGrammar(text)) {}
  bool Allows(std::string_view text) {
    if (automaton_) return testing::Accepts(*automaton_, text);
    ADD_FAILURE() << fault_;
    return false;
  }
  const std::string& fault() const { return fault_; }

 private:
  testing::WordTokenizer tokenizer_{testing::JsonWords()};
  TokenTrie trie_{tokenizer_};
  std::unique_ptr<Automaton> automaton_;
  std::string fault_ = "none";
};

std::string Fault(std::string_view text) { return Schema(text).fault(); }

TEST(Schema, KeepsOrderRequiredAndOptionalMembers) {
  Schema schema(R"({"type": "object", "properties": {"z": {"type": "integer"}, "a": {"type":
    "boolean"}, "m": {"type": "null"}}, "required": ["a"], "additionalProperties": false})");
  EXPECT_TRUE(schema.Allows(R"({"z": 1, "a": true, "m": null})"));
  EXPECT_TRUE(schema.Allows(R"({"a":false})"));
  EXPECT_TRUE(schema.Allows("{\n  \"z\":1,\n  \"a\":false\n}"));
  EXPECT_FALSE(schema.Allows(R"({"z": 1})"));
  EXPECT_FALSE(schema.Allows(R"({"a": true, "z": 1})"));
  EXPECT_FALSE(schema.Allows(R"({"a": true, "x": 1})"));
  EXPECT_FALSE(schema.Allows(R"({"a": true,})"));
}

TEST(Schema, KeepsFurtherMembersApartFromNamedOnes) {
  Schema schema(R"({"properties": {"na": {"type": "integer"}, "name": {"type": "integer"}},
    "additionalProperties": {"type": "string"}})");
  EXPECT_TRUE(schema.Allows(R"({"na": 1, "nam": "x", "names": "y", "": "z"})"));
  EXPECT_FALSE(schema.Allows(R"({"na": 1, "name": "x"})"));
  EXPECT_FALSE(schema.Allows(R"({"n\u0061": "x"})"));
}

TEST(Schema, BoundsIntegersByTheirDigits) {
  for (const auto& [low, high] : {std::pair(-17, 205), std::pair(0, 9), std::pair(98, 1002),
                                  std::pair(-3000, -99), std::pair(7, 7), std::pair(-1, 0)}) {
    Schema schema(fmt::format(R"({{"type": "integer", "minimum": {}, "maximum": {}}})", low, high));
    for (int i = -3100; i <= 1100; ++i) {
      EXPECT_EQ(schema.Allows(std::to_string(i)), low <= i && i <= high) << i;
    }
    EXPECT_FALSE(schema.Allows("07"));
    EXPECT_FALSE(schema.Allows("7.0"));
  }
}

TEST(Schema, BoundsNumbersBetweenDecimals) {
  Schema schema(R"({"type": "number", "minimum": -1.25, "maximum": 20.5})");
  for (int i = -3000; i <= 25'000; i += 7) {
    const std::string text =
        fmt::format("{}{}.{:03}", i < 0 ? "-" : "", std::abs(i) / 1000, std::abs(i) % 1000);
    // Where a bound has decimals, its unit is told apart by as many of them.
    const bool edge = (i >= 20'000 && i <= 20'500) || (i < -1000 && i >= -1250);
    if (edge) continue;
    EXPECT_EQ(schema.Allows(text), -1250 <= i && i <= 20'500) << text;
  }
  EXPECT_TRUE(schema.Allows("-1.25"));
  EXPECT_TRUE(schema.Allows("20.50"));
  EXPECT_FALSE(schema.Allows("20.6"));
  EXPECT_FALSE(schema.Allows("-1.26"));
  EXPECT_FALSE(schema.Allows("1e1"));
}

TEST(Schema, CountsCharactersOfStrings) {
  Schema schema(R"({"type": "string", "minLength": 2, "maxLength": 3})");
  EXPECT_TRUE(schema.Allows("\"\u00e9\U0001F600\""));
  EXPECT_TRUE(schema.Allows(R"("\n\u00e9\"")"));
  EXPECT_FALSE(schema.Allows("\"a\""));
  EXPECT_FALSE(schema.Allows("\"abcd\""));
  EXPECT_FALSE(schema.Allows(R"("\ud83d\ude00")"));
}

TEST(Schema, ReadsPatternsAsFoundAnywhereUnlessAnchored) {
  Schema anywhere(R"({"type": "string", "pattern": "[ab]+\\d"})");
  EXPECT_TRUE(anywhere.Allows(R"("xxab7 \" y")"));
  EXPECT_FALSE(anywhere.Allows(R"("7ab")"));
  Schema anchored(R"({"type": "string", "pattern": "^(a|[^b\"]{2})\\.?$|^z"})");
  EXPECT_TRUE(anchored.Allows(R"("a.")"));
  EXPECT_TRUE(anchored.Allows(R"("cd")"));
  EXPECT_TRUE(anchored.Allows(R"("zebra")"));
  EXPECT_FALSE(anchored.Allows(R"("c\"")"));
  EXPECT_TRUE(anchored.Allows(R"("\\\n")"));
  EXPECT_FALSE(anchored.Allows(R"("ab")"));
}

TEST(Schema, AllowsOnlyDaysThatThereAre) {
  Schema schema(R"({"type": "string", "format": "date"})");
  EXPECT_TRUE(schema.Allows("\"2024-02-29\""));
  EXPECT_FALSE(schema.Allows("\"2023-02-29\""));
  EXPECT_FALSE(schema.Allows("\"1900-02-29\""));
  EXPECT_FALSE(schema.Allows("\"2024-04-31\""));
  EXPECT_TRUE(schema.Allows("\"2024-10-31\""));
}

TEST(Schema, MergesWhatIsSaidTogether) {
  Schema schema(R"({"$defs": {"base": {"type": "object", "properties": {"id": {"type": ["integer",
    "string"], "minimum": 2}}, "required": ["id"]}}, "allOf": [{"$ref": "#/$defs/base"},
    {"properties": {"id": {"type": "number", "maximum": 3}, "b": {"const": 1}}}]})");
  EXPECT_TRUE(schema.Allows(R"({"id": 3, "b": 1})"));
  EXPECT_FALSE(schema.Allows(R"({"id": 4})"));
  EXPECT_FALSE(schema.Allows(R"({"id": "x"})"));
  // What one side leaves out, and forbids, the other cannot allow.
  EXPECT_FALSE(Schema(R"({"allOf": [{"type": "object", "properties": {"a": {}},
    "additionalProperties": false}, {"properties": {"b": {"type": "null"}}}]})")
                   .Allows(R"({"b": null})"));
}

TEST(Schema, FollowsRecursion) {
  Schema schema(R"({"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}})");
  EXPECT_TRUE(schema.Allows("[[null, []], null]"));
  EXPECT_FALSE(schema.Allows("[[null, []], 1]"));
}

TEST(Schema, RefusesWhatItCannotGuaranteeByItsPlace) {
  EXPECT_THAT(Fault(R"({"properties": {"a/b": {"type": "array", "uniqueItems": true}}})"),
              HasSubstr("#/properties/a/b/uniqueItems"));
  EXPECT_THAT(Fault(R"({"not": {"type": "string"}})"), HasSubstr("#/not"));
  EXPECT_THAT(Fault(R"({"if": {}, "then": {}})"), HasSubstr("#/if"));
  EXPECT_THAT(Fault(R"({"type": "string", "format": "regex"})"), HasSubstr("#/format"));
  EXPECT_THAT(Fault(R"x({"type": "string", "pattern": "(?=a)"})x"), HasSubstr("look-around"));
  EXPECT_THAT(Fault(R"({"type": "string", "pattern": "^a+$", "maxLength": 5})"),
              HasSubstr("#/maxLength"));
  EXPECT_THAT(Fault(R"({"$ref": "other.json"})"), HasSubstr("#/$ref"));
  EXPECT_THAT(Fault(R"({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"})"),
              HasSubstr("left recursion"));
  EXPECT_THAT(Fault(R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})"),
              HasSubstr("#/oneOf"));
  EXPECT_THAT(Fault(R"({"type": "integer", "minimum": 3, "maximum": 2})"), HasSubstr("no whole"));
  EXPECT_THAT(Fault(R"({"type": "number", "multipleOf": 0.1})"), HasSubstr("#/multipleOf"));
  EXPECT_THAT(Fault(R"({"type": "object", "patternProperties": {"a": {}}})"),
              HasSubstr("#/patternProperties"));
  EXPECT_THAT(Fault(R"({"type": "thing"})"), HasSubstr("not a type"));
  EXPECT_THAT(Fault(R"({"allOf": [{"pattern": "a"}, {"pattern": "b"}]})"), HasSubstr("pattern"));
  EXPECT_THAT(Fault(R"({"surprise": 1})"), HasSubstr("#/surprise"));
  EXPECT_THAT(Fault("[1]"), HasSubstr("expected a schema"));
  EXPECT_THAT(Fault("{"), HasSubstr("the schema"));
}

TEST(Schema, BoundsSchemasThatGrow) {
  std::string doubling = R"({"$defs": {"d0": {"type": "integer"})";
  for (int i = 1; i < 40; ++i) {
    doubling += fmt::format(R"(, "d{0}": {{"allOf": [{{"$ref": "#/$defs/d{1}"}}, {{"$ref":
      "#/$defs/d{1}"}}]}})",
                            i, i - 1);
  }
  EXPECT_NE(Fault(doubling + R"(}, "$ref": "#/$defs/d39"})"), "none");
  std::string deep;
  for (int i = 0; i < 50; ++i) deep += R"({"items": )";
  EXPECT_NE(Fault(deep + "{}" + std::string(49, '}')), "none");
}

TEST(ToolGrammar, AllowsCallsOrText) {
  const std::string tools = R"("tools": [{"name": "add", "parameters": {"type": "object",
    "properties": {"a": {"type": "integer"}}, "required": ["a"], "$defs": {}}},
    {"name": "now", "parameters": null}])";
  Schema any(ToolGrammar("{" + tools + "}"));
  const std::string call = R"([TOOL_CALLS] [{"name": "add", "arguments": {"a": 1}})";
  EXPECT_TRUE(any.Allows(call + "]"));
  EXPECT_TRUE(any.Allows(call + R"(, {"name": "now", "arguments": {}}])"));
  EXPECT_TRUE(any.Allows("It is [TOOL_CALLS] late.\n"));
  EXPECT_TRUE(any.Allows("[TOOL"));
  EXPECT_TRUE(any.Allows(""));
  EXPECT_FALSE(any.Allows("[TOOL_CALLS]"));
  EXPECT_FALSE(any.Allows(R"([TOOL_CALLS] [{"name": "sub", "arguments": {}}])"));
  Schema one(ToolGrammar("{" + tools + R"(, "required": true, "parallel": false})"));
  EXPECT_TRUE(one.Allows(call + "]"));
  EXPECT_FALSE(one.Allows(call + R"(, {"name": "now", "arguments": {}}])"));
  EXPECT_FALSE(one.Allows("text"));
  EXPECT_THAT(
      Schema(ToolGrammar(R"({"tools": [{"name": "f", "parameters": {"not": {}}}]})")).fault(),
      HasSubstr("tool \"f\": schema, #/not"));
}

TEST(Json, AllowsObjectsAlone) {
  Schema json(GrammarOf({Constraint::Kind::kJson, {}}));
  EXPECT_TRUE(json.Allows(R"({"a": [1, -2.5e+3, "x\u00e9\n", {}, [], true, null]})"));
  EXPECT_FALSE(json.Allows("[1]"));
  EXPECT_FALSE(json.Allows(R"({"a": 01})"));
  EXPECT_FALSE(json.Allows("{\"a\": \"\n\"}"));
  EXPECT_FALSE(json.Allows(R"({"a": "\ud800"})"));
  EXPECT_FALSE(json.Allows("{" + std::string(40, ' ') + "}"));
}

}  // namespace
}  // namespace octet
