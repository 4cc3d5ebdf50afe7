// The model inside the program: an instruct model that answers in its chat format and ends by
// itself.
#include "octet/default_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "octet/engine.h"

namespace octet {
namespace {

using ::testing::StartsWith;

TEST(DefaultModel, IsAMixtureOfExpertsThatChats) {
  EXPECT_THAT(std::string(DefaultModelName()), StartsWith("Llama-"));
  const auto model = LanguageModel::Load({});
  ASSERT_TRUE(model) << model.error().message;
  const ModelInfo& info = model->info();
  EXPECT_EQ(info.architecture, "mixtral");
  EXPECT_EQ(info.chat_format, "mistral-v3");
  EXPECT_EQ(info.context, 1024);
  EXPECT_LT(info.active_parameters, 10'000'000);
}

TEST(DefaultModel, AnswersAndEndsByItself) {
  auto model = LanguageModel::Load({});
  ASSERT_TRUE(model) << model.error().message;
  GenerateOptions options;
  options.sampling = SamplingOptions::Greedy();
  options.max_tokens = 700;
  const ChatMessage asked[] = {{"user", "Tell a short story about a brave little mouse."}};
  const auto answer = model->Chat(asked, options);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->finish, FinishReason::kStop);
  EXPECT_GT(answer->ids.size(), 50u);
}

}  // namespace
}  // namespace octet
