#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "io/gguf_writer.h"
#include "support/temp_folder.h"
#include "support/tokenizers.h"
#include "text/gguf_vocabulary.h"
#include "text/tokenizer.h"

namespace octet {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Must;
using ::testing::Not;
using testing::ReadAll;
using testing::SmallTokenizer;
using testing::SmallTokenizerPath;
using testing::TempFolder;
using testing::TokenizerJsonOf;

std::string ErrorOf(const std::filesystem::path& path) {
  const auto tokenizer = LoadTokenizer(path);
  return tokenizer ? "accepted" : tokenizer.error().message;
}

GgufMetadata SmallGguf() {
  GgufMetadata metadata;
  std::vector<std::string> pieces = {"<unk>", "<s>", "</s>", "▁", "a", "▁a"};
  metadata.Set("tokenizer.ggml.model", std::string("llama"), GgufType::kString);
  metadata.Set("tokenizer.ggml.tokens", std::move(pieces), GgufType::kString);
  metadata.Set("tokenizer.ggml.scores", std::vector<double>{0, 0, 0, -2, -3, -1},
               GgufType::kFloat32);
  metadata.Set("tokenizer.ggml.token_type", std::vector<int64_t>{2, 3, 3, 1, 1, 1},
               GgufType::kInt32);
  return metadata;
}

TEST(LoadTokenizer, ReadsAFolderAndTheFileItself) {
  const TempFolder folder;
  folder.Write("tokenizer.model", ReadAll(SmallTokenizerPath()));
  for (const auto& path : {folder.path(), folder / "tokenizer.model"}) {
    EXPECT_THAT(Must(LoadTokenizer(path))->Encode("the license"), ElementsAre(268, 411));
  }
  const TempFolder json;
  json.Write("tokenizer.json", "\n " + TokenizerJsonOf(SmallTokenizer()->vocabulary()).dump());
  for (const auto& path : {json.path(), json / "tokenizer.json"}) {
    EXPECT_THAT(Must(LoadTokenizer(path))->Encode("the license"), ElementsAre(268, 411));
  }
}

TEST(LoadTokenizer, TakesSpecialTokensAndTemplateFromTheFolder) {
  const TempFolder folder;
  folder.Write("tokenizer.model", ReadAll(SmallTokenizerPath()));
  folder.Write("tokenizer_config.json", R"({
    "add_bos_token": false, "eos_token": {"content": "<|im_end|>", "lstrip": false},
    "chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}],
    "added_tokens_decoder": {"513": {"content": "<|im_start|>", "special": false},
                             "1": {"content": "<s>", "special": true},
                             "512": {"content": "<|im_end|>", "special": true}}})");
  folder.Write("generation_config.json", R"({"bos_token_id": 1, "eos_token_id": [2, 512]})");
  const auto tokenizer = Must(LoadTokenizer(folder.path()));
  const Vocabulary& v = tokenizer->vocabulary();
  ASSERT_EQ(v.tokens.size(), 514u);
  EXPECT_EQ(v.tokens[512].kind, TokenKind::kControl);
  EXPECT_EQ(v.tokens[513].kind, TokenKind::kControl);
  EXPECT_EQ(v.bos, 1);
  EXPECT_EQ(v.eos, 512);
  EXPECT_THAT(v.extra_eos, ElementsAre(2));
  EXPECT_FALSE(v.add_bos);
  EXPECT_EQ(v.chat_template, "d");
  EXPECT_THAT(tokenizer->Encode("<|im_start|>"), Not(Contains(513)));
}

TEST(LoadTokenizer, ReadsAddedTokensAndTheTemplateFile) {
  const TempFolder folder;
  folder.Write("tokenizer.model", ReadAll(SmallTokenizerPath()));
  folder.Write("added_tokens.json", R"({"<pad>": 512, "word": 513})");
  folder.Write("special_tokens_map.json", R"({"pad_token": "<pad>"})");
  folder.Write("chat_template.jinja", "[INST]");
  const auto tokenizer = Must(LoadTokenizer(folder.path()));
  EXPECT_EQ(tokenizer->vocabulary().pad, 512);
  EXPECT_EQ(tokenizer->vocabulary().chat_template, "[INST]");
  EXPECT_THAT(tokenizer->Encode("a word"), ElementsAre(261, 441, 513));
}

TEST(LoadTokenizer, ReadsTheVocabularyOfAGguf) {
  const TempFolder folder;
  GgufMetadata metadata = SmallGguf();
  metadata.Set("tokenizer.chat_template", std::string("jinja"), GgufType::kString);
  metadata.Set("tokenizer.ggml.add_bos_token", false, GgufType::kBool);
  metadata.Set("tokenizer.ggml.eot_token_id", uint64_t{4}, GgufType::kUint32);
  metadata.Set("tokenizer.ggml.padding_token_id", uint64_t{0xFFFFFFFF}, GgufType::kUint32);
  folder.Write("model.gguf", EncodeGgufHeader(metadata, {}));
  for (const auto& path : {folder.path(), folder / "model.gguf"}) {
    const auto tokenizer = Must(LoadTokenizer(path));
    EXPECT_THAT(tokenizer->Encode("a a"), ElementsAre(5, 5));
    EXPECT_EQ(tokenizer->vocabulary().chat_template, "jinja");
    EXPECT_FALSE(tokenizer->vocabulary().add_bos);
    EXPECT_EQ(tokenizer->vocabulary().pad, -1);
    EXPECT_THAT(tokenizer->vocabulary().extra_eos, ElementsAre(4));
  }
  folder.Write("other.gguf", EncodeGgufHeader(metadata, {}));
  EXPECT_THAT(ErrorOf(folder.path()), HasSubstr("several GGUF models"));
}

TEST(LoadTokenizer, RefusesGgufVocabulariesItCannotUse) {
  const auto error_after = [](auto change) {
    GgufMetadata metadata = SmallGguf();
    change(metadata);
    const auto vocabulary = VocabularyFromGguf(metadata, "m.gguf");
    return vocabulary ? std::string("accepted") : vocabulary.error().message;
  };
  EXPECT_EQ(error_after([](auto&) {}), "accepted");
  EXPECT_THAT(error_after([](auto& m) { m.values().erase("tokenizer.ggml.model"); }),
              HasSubstr("no vocabulary"));
  EXPECT_THAT(
      error_after([](auto& m) { m.values()["tokenizer.ggml.model"] = std::string("gpt2"); }),
      HasSubstr("'gpt2'"));
  EXPECT_THAT(
      error_after([](auto& m) { m.values()["tokenizer.ggml.scores"] = std::vector<double>{0}; }),
      HasSubstr("6 entries"));
  EXPECT_THAT(error_after([](auto& m) {
                m.values()["tokenizer.ggml.token_type"] = std::vector<int64_t>{1, 2, 3, 4, 5, 9};
              }),
              HasSubstr("type 9"));
}

TEST(LoadTokenizer, SaysWhatItLookedFor) {
  const TempFolder folder;
  EXPECT_THAT(ErrorOf(folder.path()), HasSubstr("tokenizer.json"));
  EXPECT_THAT(ErrorOf(folder / "absent"), HasSubstr("no such file"));
  EXPECT_EQ(LoadTokenizer(folder.path()).error().code, ErrorCode::kNotFound);
  folder.Write("tokenizer.model", ReadAll(SmallTokenizerPath()));
  folder.Write("tokenizer_config.json", "{");
  EXPECT_THAT(ErrorOf(folder.path()), HasSubstr("tokenizer_config.json"));
}

}  // namespace
}  // namespace octet
