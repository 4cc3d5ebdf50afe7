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

TEST(DefaultModel, IsAMixtureOfExpertsThatTellsStories) {
  auto model = LanguageModel::Load({});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->info().name, DefaultModelName());
  EXPECT_EQ(model->info().architecture, "mixtral");
  GenerateOptions options;
  options.sampling = SamplingOptions::Greedy();
  options.max_tokens = 60;
  const auto story = model->Generate("Once upon a time", options);
  ASSERT_TRUE(story) << story.error().message;
  EXPECT_THAT(story->text, ::testing::HasSubstr("there was"));
}

}  // namespace
}  // namespace octet
