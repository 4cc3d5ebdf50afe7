#include "text/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace octet {
namespace {

TEST(Utf8, RoundTripsEveryCodePoint) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const std::string text = EncodeUtf8(c);
    ASSERT_EQ(Utf8Length(text), text.size()) << static_cast<uint32_t>(c);
    ASSERT_EQ(DecodeUtf8(text), c);
    for (size_t cut = 1; cut < text.size(); ++cut) {
      ASSERT_TRUE(IsIncompleteUtf8(text.substr(0, cut))) << static_cast<uint32_t>(c);
      ASSERT_EQ(Utf8Length(text.substr(0, cut)), 0u);
    }
    ASSERT_FALSE(IsIncompleteUtf8(text));
  }
}

TEST(Utf8, RefusesOverlongSurrogateAndTooLargeForms) {
  for (const char* text :
       {"\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\x80", "\xBF", "\xFE", "\xFF"}) {
    EXPECT_EQ(Utf8Length(text), 0u);
    EXPECT_FALSE(IsValidUtf8(text));
    EXPECT_FALSE(IsIncompleteUtf8(std::string(text).substr(0, 2)));
  }
  EXPECT_FALSE(IsIncompleteUtf8(""));
  EXPECT_TRUE(IsValidUtf8(""));
  EXPECT_FALSE(IsValidUtf8("abc\xE2\x82"));
}

}  // namespace
}  // namespace octet
