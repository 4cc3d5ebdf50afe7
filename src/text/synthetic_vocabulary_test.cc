#include "text/synthetic_vocabulary.h"

#include <gtest/gtest.h>

#include <set>

namespace octet {
namespace {

TEST(SyntheticVocabulary, HasTheSizeAskedForAndNoPieceTwice) {
  for (const int64_t size : {1000, 32000, 32768}) {
    std::set<std::string> pieces;
    for (const auto& token : SyntheticVocabulary(size).tokens) pieces.insert(token.piece);
    EXPECT_EQ(static_cast<int64_t>(pieces.size()), size);
  }
}

TEST(SyntheticVocabulary, EncodesEveryTextInShortPiecesAndBack) {
  const auto tokenizer = TokenizerFromVocabulary(SyntheticVocabulary(32000), "synthetic");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  for (const std::string text : {"the quick brown fox jumps over the lazy dog", "{\"a\": 17}",
                                 "naïve 日本語\n\ttabs", "HELLO"}) {
    const auto ids = (*tokenizer)->Encode(text);
    EXPECT_EQ((*tokenizer)->Decode(ids), text);
  }
  EXPECT_LT((*tokenizer)->Encode("the quick brown fox jumps over the lazy dog").size(), 22u);
}

}  // namespace
}  // namespace octet
