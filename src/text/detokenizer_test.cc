#include "text/detokenizer.h"

#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <string>
#include <vector>

#include "base/rng.h"
#include "support/tokenizers.h"
#include "text/utf8.h"

namespace octet {
namespace {

using testing::ReadAll;
using testing::SmallTokenizer;
using testing::SmallTokenizerPath;
using Ids = std::vector<int32_t>;

constexpr uint64_t kSeed = 20240108;

/// Ids of every kind; bytes are frequent, so that characters are completed, cut and broken.
Ids RandomIds(uint64_t stream) {
  const size_t n = RandomBits(kSeed, stream, 0) % 24;
  Ids ids;
  for (size_t i = 0; i < n; ++i) {
    const uint64_t bits = RandomBits(kSeed, stream, i + 1);
    const uint64_t choice = bits >> 32;
    if (choice % 4 == 0) {
      ids.push_back(static_cast<int32_t>(bits % 512));
    } else if (choice % 4 == 1) {
      ids.push_back(static_cast<int32_t>(bits % 3));
    } else if (choice % 4 == 2) {
      ids.push_back(static_cast<int32_t>(3 + 0xB0 + bits % 0x50));
    } else {
      const Ids euro = {3 + 0xE2, 3 + 0x82, 3 + 0xAC};
      ids.insert(ids.end(), euro.begin(), euro.end());
    }
  }
  return ids;
}

TEST(Detokenizer, EqualsSentencePiecesOwnDecoding) {
  const auto tokenizer = SmallTokenizer();
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.LoadFromSerializedProto(ReadAll(SmallTokenizerPath())).ok());
  for (uint64_t stream = 0; stream < 3000; ++stream) {
    const Ids ids = RandomIds(stream);
    std::string expected;
    ASSERT_TRUE(library.Decode(std::vector<int>(ids.begin(), ids.end()), &expected).ok());
    Detokenizer detokenizer(*tokenizer);
    std::string text;
    for (const int32_t id : ids) {
      const std::string part = detokenizer.Push(id);
      ASSERT_TRUE(IsValidUtf8(part)) << "seed " << kSeed << " stream " << stream;
      text += part;
    }
    text += detokenizer.Flush();
    ASSERT_EQ(text, expected) << "seed " << kSeed << " stream " << stream;
    ASSERT_EQ(tokenizer->Decode(ids), expected) << "seed " << kSeed << " stream " << stream;
  }
}

TEST(Detokenizer, HoldsACharacterBackUntilItIsWhole) {
  const auto tokenizer = SmallTokenizer();
  Detokenizer detokenizer(*tokenizer);
  EXPECT_EQ(detokenizer.Push(268), "the");
  EXPECT_EQ(detokenizer.Push(3 + 0xF0), "");
  EXPECT_EQ(detokenizer.Push(3 + 0x9F), "");
  EXPECT_EQ(detokenizer.Push(3 + 0x98), "");
  EXPECT_EQ(detokenizer.Push(3 + 0x80), "😀");
  EXPECT_EQ(detokenizer.Push(3 + 0xE2), "");
  EXPECT_EQ(detokenizer.Push(268), "\uFFFD the");
  EXPECT_EQ(detokenizer.Push(3 + 0xC3), "");
  EXPECT_EQ(detokenizer.Flush(), "\uFFFD");
  EXPECT_EQ(detokenizer.Flush(), "");
}

TEST(Detokenizer, KeepsTheFirstSpaceWhenItContinuesAText) {
  const auto tokenizer = SmallTokenizer();
  EXPECT_EQ(Detokenizer(*tokenizer, true).Push(268), "the");
  EXPECT_EQ(Detokenizer(*tokenizer, false).Push(268), " the");
}

TEST(Detokenizer, IgnoresIdsOutOfRange) {
  const auto tokenizer = SmallTokenizer();
  Detokenizer detokenizer(*tokenizer);
  EXPECT_EQ(detokenizer.Push(-1), "");
  EXPECT_EQ(detokenizer.Push(512), "");
  EXPECT_EQ(detokenizer.Push(268), "the");
}

}  // namespace
}  // namespace octet
