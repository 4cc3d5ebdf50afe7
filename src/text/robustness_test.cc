// Damaged tokenizer files give an error or a tokenizer, never a crash.
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "support/damage.h"
#include "support/tokenizers.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace octet {
namespace {

using testing::ExpectTruncationsRefused;
using testing::Parser;
using testing::ReadAll;
using testing::SmallTokenizer;
using testing::SmallTokenizerPath;
using testing::SurviveByteFlips;
using testing::TokenizerJsonOf;

/// Loads the bytes and, when that works, encodes with them.
template <class Load>
Parser LoadAndUse(Load load) {
  return [load](std::span<const std::byte> bytes) {
    const auto tokenizer = load(
        std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), "damaged");
    if (!tokenizer) return false;
    const auto ids = (*tokenizer)->Encode("the  </s> café \xFF 日本\n");
    EXPECT_TRUE(IsValidUtf8((*tokenizer)->Decode(ids)));
    return true;
  };
}

TEST(DamagedTokenizer, SentencePieceModel) {
  const std::string good = ReadAll(SmallTokenizerPath());
  const Parser parse = LoadAndUse(TokenizerFromSentencePiece);
  ASSERT_TRUE(parse(std::as_bytes(std::span(good))));
  ExpectTruncationsRefused(good, parse);
  SurviveByteFlips(good, good.size(), 1000, 11, parse);
}

TEST(DamagedTokenizer, TokenizerJson) {
  const std::string good = TokenizerJsonOf(SmallTokenizer()->vocabulary()).dump();
  const Parser parse = LoadAndUse(TokenizerFromJson);
  ASSERT_TRUE(parse(std::as_bytes(std::span(good))));
  ExpectTruncationsRefused(good, parse);
  SurviveByteFlips(good, 2000, 1000, 12, parse);
}

}  // namespace
}  // namespace octet
