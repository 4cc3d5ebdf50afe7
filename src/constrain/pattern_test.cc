// Regular expressions for whole answers.
#include "constrain/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "constrain/constrain_testing.h"

namespace octet {
namespace {

using ::testing::HasSubstr;

bool Fits(std::string_view regex, std::string_view text) {
  static const testing::WordTokenizer tokenizer(testing::JsonWords());
  static const TokenTrie trie(tokenizer);
  const auto grammar = RegexGrammar(regex);
  EXPECT_TRUE(grammar) << grammar.error().message;
  if (!grammar) return false;
  auto program = CompileGrammar(*grammar);
  EXPECT_TRUE(program) << program.error().message;
  Automaton automaton(*std::move(program), trie);
  const bool matches = testing::Accepts(automaton, text);
  EXPECT_EQ(testing::SlowMatcher(*grammar, text).Matches(), matches) << regex << " on " << text;
  return matches;
}

TEST(Regex, MatchesWholeTextsAsTheyAre) {
  EXPECT_TRUE(Fits("[a-c]+", "abc"));
  EXPECT_FALSE(Fits("[a-c]+", "abcd"));
  EXPECT_FALSE(Fits("[a-c]+", " abc"));
  EXPECT_FALSE(Fits("[a-c]+", ""));
  // Nothing is escaped, as it would be in a JSON string.
  EXPECT_TRUE(Fits("say \"[^\"]*\"\\n", "say \"a\\b\"\n"));
  EXPECT_TRUE(Fits("\\\\\\d{2,3}", "\\12"));
  EXPECT_TRUE(Fits("caf\xC3\xA9|th\xC3\xA9", "th\xC3\xA9"));
  EXPECT_TRUE(Fits(".", "\xE2\x82\xAC"));
  EXPECT_FALSE(Fits(".", "\n"));
}

TEST(Regex, TakesAnchorsAtTheEndsForGranted) {
  for (const char* regex : {"ab|c", "^ab|c$", "^(?:ab|c)$", "^ab$|^c$"}) {
    EXPECT_TRUE(Fits(regex, "ab")) << regex;
    EXPECT_TRUE(Fits(regex, "c")) << regex;
    EXPECT_FALSE(Fits(regex, "abc")) << regex;
    EXPECT_FALSE(Fits(regex, "xc")) << regex;
  }
  EXPECT_TRUE(Fits("^$", ""));
}

TEST(Regex, ReadsMarksOfOtherDialects) {
  EXPECT_TRUE(Fits("\\d{4}\\-\\d\\ \\\"x\\\"", "2024-1 \"x\""));
  EXPECT_TRUE(Fits("(?<year>\\d+)\\s?(?:BC|AD)??", "44 BC"));
}

TEST(Regex, SaysWhatItDoesNotRead) {
  for (const char* regex :
       {"a(?=b)", "(a)\\1", "\\bword", "\\p{L}", "a(^b)", "*a", "[a", "(a", "a{3,2}", "\xFF"}) {
    EXPECT_FALSE(RegexGrammar(regex)) << regex;
  }
  EXPECT_THAT(RegexGrammar("ab(?=c)").error().message, HasSubstr("at character 4"));
}

}  // namespace
}  // namespace octet
