// The small model of models/: it tells the story its authors publish.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/checkpoint.h"
#include "support/model_runner.h"
#include "support/small_model.h"
#include "text/gguf_vocabulary.h"
#include "text/tokenizer.h"

namespace octet {
namespace {

/// What llama2.c's run prints for stories260K at temperature 0, to the end of the text.
constexpr char kStory[] =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. She wanted to play with it, but it was too high.\n"
    "Lily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. She "
    "said, \"I want to play with your ball, but I can't find it.\"\n"
    "Lily was sad and didn't know what to do. She said, \"I'm sorry, Lily. I didn't know what to "
    "do.\"\n"
    "Lily didn't want to help her mom, so she said, \"I'm sorry, mom. I didn't know what to do.\" "
    "Her mom said, \"Don't worry, Lily. We can help you.";

TEST(SmallModel, TellsTheStoryThatTheOriginalTells) {
  Checkpoint checkpoint = testing::Must(OpenCheckpoint(testing::SmallModelPath()));
  const auto tokenizer = testing::Must(TokenizerFromVocabulary(
      testing::Must(VocabularyFromGguf(*checkpoint.gguf, "small model")), "small model"));
  const auto model = testing::Must(Model::Load(std::move(checkpoint)));
  EXPECT_EQ(model->config().n_experts, 8);
  testing::ModelRunner runner(*model, {});
  const auto ids = runner.Greedy({tokenizer->vocabulary().bos}, 257);
  EXPECT_THAT(tokenizer->Decode(ids), ::testing::StartsWith(kStory));
}

}  // namespace
}  // namespace octet
