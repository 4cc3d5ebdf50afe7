#include "constrain/gbnf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "constrain/constrain_testing.h"

namespace octet {
namespace {

using testing::Accepts;
using ::testing::HasSubstr;

const testing::WordTokenizer& Words() {
  static const testing::WordTokenizer tokenizer(testing::JsonWords());
  return tokenizer;
}

std::string Fault(std::string_view text) {
  const auto grammar = ParseGbnf(text);
  if (!grammar) return grammar.error().message;
  const auto program = CompileGrammar(*grammar);
  return program ? "none" : program.error().message;
}

bool Fits(std::string_view grammar_text, std::string_view text) {
  const auto grammar = ParseGbnf(grammar_text);
  if (!grammar) {
    ADD_FAILURE() << grammar.error().message;
    return false;
  }
  auto program = CompileGrammar(*grammar);
  if (!program) {
    ADD_FAILURE() << program.error().message;
    return false;
  }
  const TokenTrie trie(Words());
  Automaton automaton(*std::move(program), trie);
  const bool fast = Accepts(automaton, text);
  EXPECT_EQ(fast, testing::SlowMatcher(*grammar, text).Matches()) << grammar_text << "\n" << text;
  return fast;
}

TEST(Gbnf, ReadsLiteralsClassesAndEscapes) {
  EXPECT_TRUE(Fits(R"(root ::= "a\"\\\n\x41\u00e9\U0001F600")", "a\"\\\nA\u00e9\U0001F600"));
  EXPECT_TRUE(Fits(R"(root ::= [a-c\]\-] [^x-z"] .)", "]\u20AC\n"));
  EXPECT_FALSE(Fits(R"(root ::= [^x-z"])", "y"));
  EXPECT_FALSE(Fits(R"(root ::= .)", ""));
  EXPECT_TRUE(Fits("root ::= [\u00e0-\u00ff]+ [-a]", "\u00e9\u00e0-"));
  EXPECT_FALSE(Fits("root ::= .", "\xED\xA0\x80"));  // a surrogate is no character
}

TEST(Gbnf, ReadsRepetitionsAndGroups) {
  EXPECT_TRUE(Fits(R"(root ::= ("a" | "bc"){2} "d"? "e"* "f"+)", "abceef"));
  EXPECT_TRUE(Fits(R"(root ::= "ab"{2,} [0-9]{1,3})", "ababab123"));
  EXPECT_FALSE(Fits(R"(root ::= "ab"{2,} [0-9]{1,3})", "abab1234"));
  EXPECT_FALSE(Fits(R"(root ::= "ab"{2,})", "ab"));
  EXPECT_TRUE(Fits(R"(root ::= ("x"{3}){2})", "xxxxxx"));
  EXPECT_TRUE(Fits(R"(root ::= ("a"?)* "b")", "aab"));
  EXPECT_TRUE(Fits(R"(root ::= "a" |)", ""));
}

TEST(Gbnf, ReadsRulesOverSeveralLinesWithComments) {
  const char* text = R"(
# a list
root  ::= "[" ws (
    item   # the first
    ("," ws item)*
  )? "]"
item ::= "a"
  | "b"
  | root
ws ::= [ \t]*
)";
  EXPECT_TRUE(Fits(text, "[a,  [b,[]]]"));
  EXPECT_FALSE(Fits(text, "[a,]"));
}

TEST(Gbnf, FaultsNameLineAndColumn) {
  EXPECT_THAT(Fault("root ::= \"a"), HasSubstr("line 1, column 10: this text has no closing \""));
  EXPECT_THAT(Fault("root ::= x\n\n  x = \"a\""), HasSubstr("line 3, column 5: expected ::="));
  EXPECT_THAT(Fault("root ::= \"a\" other"), HasSubstr("column 14: there is no rule \"other\""));
  EXPECT_THAT(Fault("a ::= \"a\""), HasSubstr("no rule \"root\""));
  EXPECT_THAT(Fault("root ::= [b-a]"), HasSubstr("ends before it begins"));
  EXPECT_THAT(Fault("root ::= \"\\q\""), HasSubstr("unknown escape"));
  EXPECT_THAT(Fault("root ::= \"\\ud800\""), HasSubstr("no character"));
  EXPECT_THAT(Fault("root ::= (\"a\""), HasSubstr("column 10: this ( has no closing )"));
  EXPECT_THAT(Fault("root ::= \"a\"{3,1}"), HasSubstr("larger count"));
  EXPECT_THAT(Fault("root ::= \"a\"{99999999}"), HasSubstr("more than 65536"));
  EXPECT_THAT(Fault("root ::= \"a\"\nroot ::= \"b\""), HasSubstr("line 2"));
  EXPECT_THAT(Fault("root ::= <think>"), HasSubstr("line 1, column 10"));
  EXPECT_THAT(Fault("root ::= \xFF"), HasSubstr("UTF-8"));
}

TEST(Gbnf, RefusesLeftRecursionAlsoWhereItIsHidden) {
  EXPECT_THAT(Fault("root ::= root \"a\" | \"b\""), HasSubstr("left recursion"));
  EXPECT_THAT(Fault("root ::= \"x\" a\na ::= b \"y\"\nb ::= c? a\nc ::= \"z\""),
              HasSubstr("left recursion"));
  EXPECT_THAT(Fault("root ::= (\"a\"? root)*"), HasSubstr("left recursion"));
  EXPECT_EQ(Fault("root ::= \"a\" root | \"b\""), "none");
}

TEST(Gbnf, RefusesWhatNoTextMatches) {
  EXPECT_THAT(Fault("root ::= \"a\" root"), HasSubstr("matched by no text"));
  EXPECT_EQ(Fault("root ::= \"a\" dead | \"b\"\ndead ::= \"c\" dead"), "none");
}

TEST(Gbnf, BoundsHostileSizes) {
  std::string groups(5000, '(');
  EXPECT_THAT(Fault("root ::= " + groups), HasSubstr("groups in groups"));
  std::string text = "root ::= ";
  for (int i = 0; i < 300'000; ++i) text += ". ";
  EXPECT_THAT(Fault(text), HasSubstr("more than"));
  EXPECT_THAT(Fault("root ::= [^a]{60000} [^b]{60000} [^\u00e9]{60000} ([^c]{60000} "
                    "[^d]{60000}){60000} [^e]{60000} [^f]{60000}  [^g]{60000}"),
              HasSubstr("more than"));
  EXPECT_EQ(Fault("root ::= (((\"a\"{1000}){1000}){1000}){1000}"), "none");
  std::string chain = "root ::= r0\n";
  for (int i = 0; i < 20'000; ++i) chain += fmt::format("r{} ::= r{}\n", i, i + 1);
  EXPECT_EQ(Fault(chain + "r20000 ::= \"x\""), "none");
}

}  // namespace
}  // namespace octet
