#include "sample/stop_matcher.h"

#include <gtest/gtest.h>

namespace octet {
namespace {

TEST(StopMatcher, FindsAStopStringWhereverPiecesAreCut) {
  const std::string text = "one two###three";
  for (size_t a = 0; a <= text.size(); ++a) {
    for (size_t b = a; b <= text.size(); ++b) {
      StopMatcher matcher({"###"});
      std::string out;
      bool stopped = false;
      for (const auto& [from, to] : {std::pair{size_t{0}, a}, {a, b}, {b, text.size()}}) {
        if (!stopped) stopped = matcher.Push(std::string_view(text).substr(from, to - from), out);
      }
      EXPECT_TRUE(stopped);
      EXPECT_EQ(out, "one two") << a << " " << b;
      EXPECT_EQ(matcher.matched(), "###");
    }
  }
}

TEST(StopMatcher, HoldsBackOnlyWhatCouldBegin) {
  StopMatcher matcher({"\nUser:", "END"});
  std::string out;
  EXPECT_FALSE(matcher.Push("hello\nUs", out));
  EXPECT_EQ(out, "hello");
  EXPECT_FALSE(matcher.Push("ual E", out));
  EXPECT_EQ(out, "hello\nUsual ");
  EXPECT_FALSE(matcher.Push("N", out));
  matcher.Flush(out);
  EXPECT_EQ(out, "hello\nUsual EN");
  EXPECT_TRUE(matcher.matched().empty());
}

TEST(StopMatcher, RestartsInsideAFailedBeginning) {
  StopMatcher matcher({"aab"});
  std::string out;
  EXPECT_FALSE(matcher.Push("aa", out));
  EXPECT_TRUE(matcher.Push("ab", out));
  EXPECT_EQ(out, "a");
}

TEST(StopMatcher, TakesTheEarliestOfSeveral) {
  StopMatcher matcher({"world", "lo"});
  std::string out;
  EXPECT_TRUE(matcher.Push("hello world", out));
  EXPECT_EQ(out, "hel");
  EXPECT_EQ(matcher.matched(), "lo");
}

TEST(StopMatcher, PassesEverythingWithoutStrings) {
  StopMatcher matcher({});
  std::string out;
  EXPECT_FALSE(matcher.Push("abc", out));
  EXPECT_EQ(out, "abc");
}

}  // namespace
}  // namespace octet
