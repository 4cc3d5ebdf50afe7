// The model inside the program is the one in models/, and opens from its own bytes.
#include "octet/default_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "octet/engine.h"

namespace octet {
namespace {

TEST(DefaultModel, IsAFileOfTheRepository) {
  std::ifstream in(
      std::string(OCTET_SOURCE_DIR) + "/models/" + std::string(DefaultModelName()) + ".gguf",
      std::ios::binary);
  ASSERT_TRUE(in) << DefaultModelName();
  const std::string file((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const std::span<const std::byte> bytes = DefaultModelBytes();
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), file);
}

TEST(DefaultModel, IsAMixtureOfExpertsThatAnswersAndStops) {
  auto model = LanguageModel::Load({});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->info().name, DefaultModelName());
  EXPECT_EQ(model->info().architecture, "mixtral");
  EXPECT_LT(model->info().active_parameters, model->info().parameters / 2);
  EXPECT_EQ(model->info().chat_format, "mistral-v3");
  GenerateOptions options;
  options.sampling = SamplingOptions::Greedy();
  options.max_tokens = 400;
  const ChatMessage question{"user", "Hello! Who are you?"};
  const auto answer = model->Chat({&question, 1}, options);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_THAT(answer->text, ::testing::Not(::testing::IsEmpty()));
  EXPECT_EQ(answer->finish, FinishReason::kStop);
}

}  // namespace
}  // namespace octet
