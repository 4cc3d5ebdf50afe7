#include "text/tokenizer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/tokenizers.h"
#include "text/vocabulary.h"

namespace octet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Must;
using testing::SmallTokenizer;
using testing::TokenizerJsonOf;

std::string ErrorOf(const Json& json) {
  const auto tokenizer = TokenizerFromJson(json.dump(), "tokenizer.json");
  return tokenizer ? "accepted" : tokenizer.error().message;
}

/// a, b, c and some unions, merged in the order given.
Json Abc(Json merges) {
  Json json;
  json["model"] = {
      {"type", "BPE"},
      {"vocab",
       {{"<unk>", 0}, {"▁", 1}, {"a", 2}, {"b", 3}, {"c", 4}, {"ab", 5}, {"bc", 6}, {"abc", 7}}},
      {"unk_token", "<unk>"},
      {"merges", std::move(merges)}};
  json["pre_tokenizer"] = {
      {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "never"}, {"split", false}};
  return json;
}

TEST(TokenizerJson, GivesTheScoresOfTheModelItWasMadeFrom) {
  const auto small = SmallTokenizer();
  const auto json = Must(TokenizerFromJson(TokenizerJsonOf(small->vocabulary()).dump(), "json"));
  for (int id = 0; id < small->vocab_size(); ++id) {
    EXPECT_EQ(json->vocabulary().tokens[id].score, small->vocabulary().tokens[id].score) << id;
    EXPECT_EQ(json->vocabulary().tokens[id].kind, small->vocabulary().tokens[id].kind) << id;
  }
}

TEST(TokenizerJson, MergesByTheListWhereScoresCannotExpressIt) {
  // "ab c" is not listed, so "abc" is only reached through "bc", though "ab" ranks higher.
  const auto tokenizer = Must(TokenizerFromJson(Abc({"a b", "b c", "a bc"}).dump(), "json"));
  EXPECT_FALSE(tokenizer->vocabulary().scores_are_exact);
  EXPECT_THAT(tokenizer->Encode("abc"), ElementsAre(5, 4));
  EXPECT_THAT(tokenizer->Encode("cabcab"), ElementsAre(4, 5, 4, 5));
  EXPECT_THAT(tokenizer->Encode("bca b"), ElementsAre(6, 2, 1, 3));
  EXPECT_THAT(tokenizer->Encode("xyab\xFF"), ElementsAre(0, 5, 0)) << "runs of unknowns are one";
  const auto complete = Must(TokenizerFromJson(Abc({"a b", "b c", "ab c", "a bc"}).dump(), "json"));
  EXPECT_TRUE(complete->vocabulary().scores_are_exact);
  EXPECT_THAT(complete->Encode("abc"), ElementsAre(7));
}

TEST(TokenizerJson, ListedMergesAndScoresAgreeOnAModelBothExpress) {
  TokenizerJson parsed =
      Must(ParseTokenizerJson(TokenizerJsonOf(SmallTokenizer()->vocabulary()).dump(), "json"));
  ASSERT_TRUE(FinishVocabulary(parsed.vocabulary, "json"));
  parsed.vocabulary.tokens.push_back({"(c)", 0, TokenKind::kUserDefined});
  const auto merges = MakeMergeTokenizer(parsed.vocabulary, parsed.merges);
  const auto scores = Must(TokenizerFromVocabulary(parsed.vocabulary, "scores"));
  for (const char* text :
       {"", "a", " the  license ", "permissions and limitations under the License", "日本語 ok",
        "\xFF\xC3(", "copyright (c) of the (co)", "▁▁ tabs\t\n\n", "zzzzzzzz    eeee"}) {
    EXPECT_EQ(merges->Encode(text), scores->Encode(text)) << text;
  }
}

TEST(TokenizerJson, ReadsMergesAsPairs) {
  const auto tokenizer = Must(TokenizerFromJson(
      Abc(Json::array({Json::array({"a", "b"}), Json::array({"b", "c"})})).dump(), "json"));
  EXPECT_THAT(tokenizer->Encode("ab"), ElementsAre(5));
}

TEST(TokenizerJson, PutsAddedTokensInTheirPlaces) {
  Json json = Abc({"a b"});
  json["added_tokens"] = {{{"id", 0}, {"content", "<unk>"}, {"special", true}},
                          {{"id", 8}, {"content", "<|im_end|>"}, {"special", true}},
                          {{"id", 10}, {"content", "cc"}, {"special", false}}};
  const auto tokenizer = Must(TokenizerFromJson(json.dump(), "json"));
  const auto& tokens = tokenizer->vocabulary().tokens;
  ASSERT_EQ(tokens.size(), 11u);
  EXPECT_EQ(tokens[0].kind, TokenKind::kUnknown);
  EXPECT_EQ(tokens[8].kind, TokenKind::kControl);
  EXPECT_EQ(tokens[9].kind, TokenKind::kUnused);
  EXPECT_EQ(tokens[10].kind, TokenKind::kUserDefined);
  EXPECT_THAT(tokenizer->Encode("acc<|im_end|>"), ElementsAre(2, 10, 0));
}

TEST(TokenizerJson, NamesWhatItDoesNotSupport) {
  Json json = Abc({"a b"});
  json["pre_tokenizer"] = {{"type", "ByteLevel"}};
  EXPECT_THAT(ErrorOf(json), HasSubstr("'ByteLevel'"));
  json = Abc({"a b"});
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFKC"}}}}};
  EXPECT_THAT(ErrorOf(json), HasSubstr("'NFKC'"));
  json = Abc({"a b"});
  json["model"]["type"] = "Unigram";
  EXPECT_THAT(ErrorOf(json), HasSubstr("Unigram"));
  json = Abc({"a b"});
  json.erase("pre_tokenizer");
  EXPECT_THAT(ErrorOf(json), HasSubstr("▁"));
}

TEST(TokenizerJson, RefusesFilesThatContradictThemselves) {
  EXPECT_THAT(ErrorOf(Abc({"a z"})), HasSubstr("merge 0"));
  Json json = Abc({"a b"});
  json["model"]["vocab"]["far"] = 1000000000;
  EXPECT_THAT(ErrorOf(json), HasSubstr("'far'"));
  json = Abc({"a b"});
  json["model"]["vocab"]["twice"] = 3;
  EXPECT_THAT(ErrorOf(json), HasSubstr("same id 3"));
  json = Abc({"a b"});
  json["added_tokens"] = {{{"id", 1 << 30}, {"content", "x"}}};
  EXPECT_THAT(ErrorOf(json), HasSubstr("'x'"));
  EXPECT_THAT(ErrorOf(Json::array()), HasSubstr("'model'"));
  EXPECT_FALSE(TokenizerFromJson("{", "json"));
  const std::string deep =
      "{\"model\":" + std::string(100000, '[') + std::string(100000, ']') + "}";
  EXPECT_THAT(TokenizerFromJson(deep, "json").error().message, HasSubstr("nested"));
}

}  // namespace
}  // namespace octet
