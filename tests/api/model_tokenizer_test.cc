#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "octet/tokenizer.h"

namespace octet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ids = std::vector<int32_t>;

Result<ModelTokenizer> LoadTokenizer() {
  return ModelTokenizer::Load(std::string(OCTET_SOURCE_DIR) + "/tests/data/tokenizer512.model");
}

TEST(ModelTokenizer, EncodesAndDecodes) {
  auto loaded = LoadTokenizer();
  ASSERT_TRUE(loaded) << loaded.error().message;
  const ModelTokenizer tokenizer = std::move(*loaded);
  EXPECT_EQ(tokenizer.vocab_size(), 512);
  EXPECT_EQ(tokenizer.bos(), 1);
  EXPECT_EQ(tokenizer.eos(), 2);
  EXPECT_EQ(tokenizer.unk(), 0);
  EXPECT_TRUE(tokenizer.adds_bos());
  EXPECT_THAT(tokenizer.Encode("the license"), ElementsAre(268, 411));
  EXPECT_THAT(tokenizer.Encode("the license", true), ElementsAre(1, 268, 411));
  EXPECT_EQ(*tokenizer.Decode(Ids{1, 268, 411, 2}), "the license");
  EXPECT_EQ(tokenizer.Token(13)->piece, "<0x0A>");
  EXPECT_EQ(tokenizer.Token(13)->kind, "byte");
  EXPECT_EQ(*tokenizer.TokenBytes(13), "\n");
}

TEST(ModelTokenizer, NamesIdsOutOfRange) {
  const auto tokenizer = LoadTokenizer();
  ASSERT_TRUE(tokenizer);
  const auto text = tokenizer->Decode(Ids{1, 512});
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(text.error().message, HasSubstr("number 2 of 2"));
  EXPECT_FALSE(tokenizer->Token(-1));
  EXPECT_FALSE(tokenizer->TokenBytes(512));
}

TEST(ModelTokenizer, RendersConversations) {
  const auto tokenizer = LoadTokenizer();
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(tokenizer->chat_format(), "raw");
  const std::vector<ChatMessage> messages = {{"user", "a"}, {"assistant", "b"}};
  const auto raw = tokenizer->RenderChat(messages);
  ASSERT_TRUE(raw);
  EXPECT_EQ(raw->format, "raw");
  EXPECT_THAT(raw->ids, ElementsAre(1, 261, 304, 2));
  EXPECT_THAT(raw->is_assistant, ElementsAre(0, 0, 1, 1));
  for (const std::string& format : ModelTokenizer::ChatFormats()) {
    const auto chat = tokenizer->RenderChat(messages, format);
    EXPECT_EQ(chat.has_value(), format != "mistral-v3") << format;
  }
  EXPECT_THAT(tokenizer->RenderChat(messages, "v1").error().message, HasSubstr("mistral-v1"));
}

}  // namespace
}  // namespace octet
