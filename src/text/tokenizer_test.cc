#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "support/tokenizers.h"
#include "text/vocabulary.h"

namespace octet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Must;
using testing::ReadAll;
using testing::SmallTokenizer;
using testing::SmallTokenizerPath;
using testing::TokenizerJsonOf;
using Ids = std::vector<int32_t>;

/// The same 512 pieces from each source.
std::vector<std::unique_ptr<Tokenizer>> EverySource() {
  std::vector<std::unique_ptr<Tokenizer>> tokenizers;
  tokenizers.push_back(SmallTokenizer());
  const Vocabulary vocabulary = tokenizers[0]->vocabulary();
  tokenizers.push_back(Must(TokenizerFromVocabulary(vocabulary, "vocabulary")));
  const auto json = TokenizerJsonOf(vocabulary);
  tokenizers.push_back(Must(TokenizerFromJson(json.dump(), "tokenizer.json")));
  tokenizers.push_back(Must(TokenizerFromSentencePiece(SentencePieceModel(vocabulary), "again")));
  return tokenizers;
}

std::string Bytes(std::string_view with_nul) { return std::string(with_nul); }

// Ids made by SentencePiece 0.1.97 itself.
TEST(Tokenizer, GivesSentencePiecesIdsFromEverySource) {
  const std::vector<std::pair<std::string, Ids>> cases = {
      {"", {}},
      {" ", {260}},
      {"  ", {331}},
      {"Hello world", {441, 487, 442, 394, 443, 278, 263, 453, 452}},
      {" Hello world", {260, 487, 442, 394, 443, 278, 263, 453, 452}},
      {"the license", {268, 411}},
      {"café naïve", {269, 448, 455, 198, 172, 301, 448, 198, 178, 316}},
      {"</s>", {441, 503, 493, 449, 504}},
      {"<unk>", {441, 503, 454, 447, 465, 504}},
      {"▁▁x", {331, 482}},
      {"A\r\nB", {386, 16, 13, 494}},
      {Bytes({"zero\0byte", 9}), {441, 501, 265, 443, 3, 462, 458, 444, 442}},
  };
  for (const auto& tokenizer : EverySource()) {
    for (const auto& [text, ids] : cases) EXPECT_EQ(tokenizer->Encode(text), ids) << text;
    EXPECT_EQ(tokenizer->Decode(Ids{268, 411}), "the license");
  }
}

TEST(Tokenizer, KnowsTheSameVocabularyFromEverySource) {
  for (const auto& tokenizer : EverySource()) {
    const Vocabulary& v = tokenizer->vocabulary();
    EXPECT_EQ(v.tokens.size(), 512u);
    EXPECT_EQ(v.bos, 1);
    EXPECT_EQ(v.eos, 2);
    EXPECT_EQ(v.unk, 0);
    EXPECT_TRUE(v.add_bos);
    EXPECT_TRUE(v.add_dummy_prefix);
    EXPECT_TRUE(v.scores_are_exact);
    EXPECT_EQ(v.tokens[1].kind, TokenKind::kControl);
    EXPECT_EQ(v.tokens[3].kind, TokenKind::kByte);
    EXPECT_EQ(v.tokens[0].kind, TokenKind::kUnknown);
    EXPECT_EQ(v.tokens[268].piece, "▁the");
    EXPECT_EQ(v.tokens[259].score, 0.0f);
    EXPECT_EQ(v.tokens[511].score, -252.0f);
  }
}

TEST(Tokenizer, EncodesInvalidUtf8ByteByByte) {
  const auto byte = [](int value) { return value + 3; };  // ids of <0x00> …
  for (const auto& tokenizer : EverySource()) {
    EXPECT_THAT(tokenizer->Encode("\xFF"), ElementsAre(441, byte(0xFF)));
    EXPECT_THAT(tokenizer->Encode("a\xE2\x96"), ElementsAre(261, byte(0xE2), byte(0x96)));
    // A cut euro sign between words: the words are what they are without it.
    EXPECT_THAT(tokenizer->Encode("the\xE2\x82 license"),
                ElementsAre(268, byte(0xE2), byte(0x82), 411));
    // The stand-in for broken bytes is itself a text.
    EXPECT_THAT(tokenizer->Encode("\xF4\x8F\xBF\xBF\xFE"),
                ElementsAre(441, byte(0xF4), byte(0x8F), byte(0xBF), byte(0xBF), byte(0xFE)));
  }
}

TEST(Tokenizer, NeverReadsControlTokensOutOfText) {
  Vocabulary vocabulary = SmallTokenizer()->vocabulary();
  vocabulary.tokens.push_back({"<|im_start|>", 0, TokenKind::kControl});
  // Hostile: a control token spelt like a letter, and a normal one spelt like a byte.
  vocabulary.tokens.push_back({"Q", 0, TokenKind::kControl});
  vocabulary.tokens.push_back({"<0x41>", 0, TokenKind::kNormal});
  const auto tokenizer = Must(TokenizerFromVocabulary(vocabulary, "vocabulary"));
  for (const char* text : {"<|im_start|>", "<s>", "</s>", "Q", "<0x41>",
                           "\xFF"
                           "512"}) {
    for (const int32_t id : tokenizer->Encode(text)) {
      const TokenKind kind = tokenizer->vocabulary().tokens[id].kind;
      EXPECT_TRUE(kind == TokenKind::kNormal || kind == TokenKind::kByte) << text << " " << id;
    }
    EXPECT_THAT(tokenizer->Encode(text), ::testing::Not(::testing::Contains(3 + 0x41))) << text;
  }
}

TEST(Tokenizer, MakesMarkersControlTokensEvenWhenTheFileListsThemAsText) {
  Vocabulary vocabulary = SmallTokenizer()->vocabulary();
  vocabulary.tokens.push_back({"<|im_end|>", 0, TokenKind::kUserDefined});
  const auto tokenizer = Must(TokenizerFromVocabulary(vocabulary, "vocabulary"));
  EXPECT_EQ(tokenizer->vocabulary().tokens[512].kind, TokenKind::kControl);
  EXPECT_THAT(tokenizer->Encode("<|im_end|>"), ::testing::Not(::testing::Contains(512)));
}

TEST(Tokenizer, FindsUserDefinedTokensInText) {
  Vocabulary vocabulary = SmallTokenizer()->vocabulary();
  vocabulary.tokens.push_back({"<tool>", 0, TokenKind::kUserDefined});
  vocabulary.tokens.push_back({"two words", 0, TokenKind::kUserDefined});
  const auto scores = Must(TokenizerFromVocabulary(vocabulary, "vocabulary"));
  const auto json = Must(TokenizerFromJson(TokenizerJsonOf(vocabulary).dump(), "json"));
  for (const Tokenizer* tokenizer : {scores.get(), json.get()}) {
    EXPECT_THAT(tokenizer->Encode("the<tool>a"), ElementsAre(268, 512, 448));
    EXPECT_THAT(tokenizer->Encode("the two words"), ElementsAre(268, 441, 513));
    EXPECT_EQ(tokenizer->Decode(Ids{268, 441, 513}), "the two words");
  }
}

TEST(Tokenizer, WorksWithoutByteFallbackAndWithoutUnk) {
  Vocabulary vocabulary;
  vocabulary.tokens = {{"<unk>", 0, TokenKind::kUnknown}, {"▁", -1}, {"a", -2}, {"▁a", 0}};
  vocabulary.bos = vocabulary.eos = -1;
  const auto with_unk = Must(TokenizerFromVocabulary(vocabulary, "v"));
  EXPECT_THAT(with_unk->Encode("azz\xFFz"), ElementsAre(3, 0));
  EXPECT_EQ(with_unk->Decode(Ids{3, 0, 2}), "a \xE2\x81\x87 a");
  vocabulary.tokens[0] = {"b", -3};
  vocabulary.unk = -1;
  const auto without = Must(TokenizerFromVocabulary(vocabulary, "v"));
  EXPECT_THAT(without->Encode("azzb"), ElementsAre(3, 0));
}

TEST(Tokenizer, KeepsDuplicateAndEmptyPieces) {
  Vocabulary vocabulary = SmallTokenizer()->vocabulary();
  vocabulary.tokens.push_back({"▁the", -5000});
  vocabulary.tokens.push_back({"", 0});
  const auto tokenizer = Must(TokenizerFromVocabulary(vocabulary, "v"));
  EXPECT_THAT(tokenizer->Encode("the"), ElementsAre(268));
  EXPECT_EQ(tokenizer->TokenBytes(512), " the");
  EXPECT_EQ(tokenizer->TokenBytes(513), "");
}

TEST(Tokenizer, TokenBytesAreWhatRunningTextGains) {
  const auto tokenizer = SmallTokenizer();
  EXPECT_EQ(tokenizer->TokenBytes(268), " the");
  EXPECT_EQ(tokenizer->TokenBytes(3 + '\n'), "\n");
  EXPECT_EQ(tokenizer->TokenBytes(1), "");
  EXPECT_EQ(tokenizer->TokenBytes(-1), "");
  EXPECT_EQ(tokenizer->TokenBytes(512), "");
}

TEST(Tokenizer, RefusesSentencePieceModelsItWouldGetWrong) {
  const std::string bytes = ReadAll(SmallTokenizerPath());
  // Later fields win: TrainerSpec.model_type = UNIGRAM, then NormalizerSpec with a character map.
  const auto unigram = TokenizerFromSentencePiece(bytes + std::string("\x12\x02\x18\x01"), "m");
  ASSERT_FALSE(unigram);
  EXPECT_EQ(unigram.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(unigram.error().message, HasSubstr("unigram"));
  const auto rewriting = TokenizerFromSentencePiece(bytes + std::string("\x1A\x03\x12\x01z"), "m");
  ASSERT_FALSE(rewriting);
  EXPECT_THAT(rewriting.error().message, HasSubstr("identity"));
}

TEST(Tokenizer, RefusesBrokenModelsOrReadsThem) {
  const std::string bytes = ReadAll(SmallTokenizerPath());
  for (size_t cut = 0; cut < bytes.size(); cut += 61) {
    const auto tokenizer = TokenizerFromSentencePiece(bytes.substr(0, cut), "cut");
    if (!tokenizer) {
      EXPECT_THAT(tokenizer.error().message, HasSubstr("cut"));
    }
  }
  EXPECT_FALSE(TokenizerFromSentencePiece("", "empty"));
  EXPECT_FALSE(TokenizerFromSentencePiece("version https://git-lfs.github.com/spec/v1", "lfs"));
}

TEST(Tokenizer, RefusesVocabulariesThatContradictThemselves) {
  const Vocabulary good = SmallTokenizer()->vocabulary();
  const auto message_after = [&good](auto change) {
    Vocabulary vocabulary = good;
    change(vocabulary);
    const auto tokenizer = TokenizerFromVocabulary(vocabulary, "v");
    return tokenizer ? std::string("accepted") : tokenizer.error().message;
  };
  EXPECT_THAT(message_after([](auto& v) { v.eos = 512; }), HasSubstr("eos token is 512"));
  EXPECT_THAT(message_after([](auto& v) { v.tokens[300].piece = "\xC3"; }), HasSubstr("token 300"));
  EXPECT_THAT(message_after([](auto& v) { v.tokens[300].score = NAN; }), HasSubstr("token 300"));
  EXPECT_THAT(message_after([](auto& v) { v.tokens[9].piece = "<0x6>"; }), HasSubstr("'<0x6>'"));
  EXPECT_THAT(message_after([](auto& v) { v.unk_surface = "\xFF"; }), HasSubstr("unk_surface"));
  EXPECT_THAT(message_after([](auto& v) { v.tokens.clear(); }), HasSubstr("no tokens"));
  EXPECT_THAT(message_after([](auto& v) {
                for (int n = 1; n < 80; ++n) {
                  v.tokens.push_back({std::string(n, '#'), 0, TokenKind::kUserDefined});
                }
              }),
              HasSubstr("begin one another"));
}

}  // namespace
}  // namespace octet
