// The C++ facade.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>

#include "octet/engine.h"
#include "support/small_model.h"

namespace octet {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kPrompt[] = "Once upon a time";
constexpr char kStory[] =
    ", there was a little girl named Lily. She loved to play outside in the park.";

LanguageModel Load(LoadOptions options = {}) {
  options.model = testing::SmallModelPath();
  auto model = LanguageModel::Load(options);
  EXPECT_TRUE(model) << model.error().message;
  return *std::move(model);
}

GenerateOptions Greedy(int64_t max_tokens) {
  GenerateOptions options;
  options.sampling = SamplingOptions::Greedy();
  options.max_tokens = max_tokens;
  return options;
}

TEST(LanguageModel, DescribesItself) {
  LoadOptions options;
  options.threads = 1;
  const LanguageModel model = Load(options);
  const ModelInfo& info = model.info();
  EXPECT_EQ(info.architecture, "mixtral");
  EXPECT_EQ(info.vocab_size, 512);
  EXPECT_EQ(info.context, 512);
  EXPECT_EQ(info.trained_context, 512);
  EXPECT_EQ(info.chat_format, "raw");
  EXPECT_EQ(info.threads, 1);
  EXPECT_GT(info.parameters, info.active_parameters);
  // K and V of 5 layers of 4 heads of 8 values of two bytes.
  EXPECT_EQ(info.kv_bytes_per_token, 2 * 5 * 4 * 8 * 2);
}

TEST(LanguageModel, GuessesAheadAndSaysTheSame) {
  LanguageModel plain = Load();
  LoadOptions options;
  options.speculate = "lookup";
  LanguageModel lookup = Load(options);
  for (const float temperature : {0.0f, 0.9f}) {
    GenerateOptions generate;
    generate.max_tokens = 200;
    generate.sampling.temperature = temperature;
    generate.sampling.seed = 4;
    generate.sampling.ignore_eos = true;
    generate.stop = {"never said"};
    const auto want = plain.Generate(kPrompt, generate);
    const auto got = lookup.Generate(kPrompt, generate);
    ASSERT_TRUE(want && got);
    EXPECT_EQ(got->ids, want->ids);
    EXPECT_EQ(got->text, want->text);
    EXPECT_EQ(want->steps, want->completion_tokens());
    EXPECT_EQ(want->drafted_tokens, 0);
    EXPECT_EQ(got->steps + got->accepted_tokens, got->completion_tokens());
  }
}

TEST(LanguageModel, StopsBetweenTokensOfOneStep) {
  LoadOptions options;
  options.speculate = "lookup";
  LanguageModel model = Load(options);
  auto conversation = model.StartConversation();
  ASSERT_TRUE(conversation);
  for (int stop_after = 1; stop_after < 40; stop_after += 7) {
    int pieces = 0;
    std::string streamed;
    GenerateOptions generate = Greedy(60);
    generate.sampling.ignore_eos = true;
    const auto result = conversation->Say("Go on", generate, [&](std::string_view piece) {
      streamed += piece;
      return ++pieces < stop_after;
    });
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->finish, FinishReason::kCancelled);
    EXPECT_EQ(result->text, streamed);
  }
}

TEST(LanguageModel, NamesWhatIsWrongWithGuessing) {
  const auto message = [](LoadOptions options) {
    const auto model = LanguageModel::Load(options);
    return model ? std::string() : model.error().message;
  };
  LoadOptions options;
  options.speculate = "luck";
  EXPECT_THAT(message(options), HasSubstr("expected off, lookup or draft"));
  options.speculate = "draft";
  EXPECT_THAT(message(options), HasSubstr("needs a draft model"));
  options.draft_model = "/nowhere";
  EXPECT_THAT(message(options), HasSubstr("/nowhere"));
  options.speculate = "lookup";
  EXPECT_THAT(message(options), HasSubstr("has no use for the draft model"));
  options.draft_model.clear();
  options.max_draft = 0;
  EXPECT_THAT(message(options), HasSubstr("expected 1 to 32"));
}

TEST(LanguageModel, ContinuesATextAndStreamsTheSame) {
  LanguageModel model = Load();
  std::string streamed;
  const auto result = model.Generate(kPrompt, Greedy(27), [&](std::string_view piece) {
    streamed += piece;
    return true;
  });
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->text, kStory);
  EXPECT_EQ(streamed, kStory);
  EXPECT_EQ(result->finish, FinishReason::kLength);
  EXPECT_EQ(result->completion_tokens(), 27);
  EXPECT_EQ(result->prompt_tokens, 5);
  const auto ids = model.Tokenize(kPrompt);
  EXPECT_EQ(model.Generate(*ids, Greedy(27))->text, kStory);
}

TEST(LanguageModel, StartsATextOfItsOwnWithoutALeadingSpace) {
  LanguageModel model = Load();
  EXPECT_THAT(model.Generate("", Greedy(32))->text, StartsWith("Once upon a time"));
}

TEST(LanguageModel, StopsWhenTheCallbackSaysSo) {
  LanguageModel model = Load();
  int pieces = 0;
  const auto stopped =
      model.Generate(kPrompt, Greedy(100), [&](std::string_view) { return ++pieces < 5; });
  ASSERT_TRUE(stopped);
  EXPECT_EQ(stopped->finish, FinishReason::kCancelled);
  EXPECT_EQ(stopped->completion_tokens(), 5);
  EXPECT_EQ(model.Generate(kPrompt, Greedy(27))->text, kStory);
}

TEST(LanguageModel, StaysUsableAfterACallbackThrows) {
  LanguageModel model = Load();
  EXPECT_THROW(
      (void)model.Generate(kPrompt, Greedy(10),
                           [](std::string_view) -> bool { throw std::runtime_error("caller"); }),
      std::runtime_error);
  EXPECT_EQ(model.Generate(kPrompt, Greedy(27))->text, kStory);
}

TEST(LanguageModel, GivesLogProbabilitiesOfChosenAndLikeliest) {
  LanguageModel model = Load();
  GenerateOptions options = Greedy(5);
  options.top_logprobs = 3;
  const auto result = model.Generate(kPrompt, options);
  ASSERT_EQ(result->logprobs.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    ASSERT_EQ(result->logprobs[i].top.size(), 3u);
    EXPECT_EQ(result->logprobs[i].top[0].id, result->ids[i]);
    EXPECT_EQ(result->logprobs[i].top[0].logprob, result->logprobs[i].logprob);
  }
}

TEST(LanguageModel, GivesLogitsOfEveryPosition) {
  LanguageModel model = Load();
  const auto ids = model.Tokenize(kPrompt);
  const auto logits = model.Logits(*ids);
  ASSERT_TRUE(logits);
  ASSERT_EQ(logits->size(), ids->size() * 512);
  const auto last = logits->end() - 512;
  const auto best = static_cast<int32_t>(std::max_element(last, logits->end()) - last);
  EXPECT_EQ(model.Generate(*ids, Greedy(1))->ids, std::vector<int32_t>{best});
}

TEST(LanguageModel, SaysWhatIsWrong) {
  const auto error = [](LoadOptions options) {
    const auto model = LanguageModel::Load(options);
    return model ? std::string() : model.error().message;
  };
  EXPECT_THAT(error({.model = "/nowhere"}), HasSubstr("/nowhere"));
  EXPECT_THAT(error({.model = testing::SmallModelPath(), .kv_type = "f64"}), HasSubstr("q8_0"));
  EXPECT_THAT(error({.model = testing::SmallModelPath(), .arithmetic = "exact"}),
              HasSubstr("float32"));
  EXPECT_THAT(error({.model = testing::SmallModelPath(), .context = -1}),
              HasSubstr("context is -1"));
  EXPECT_THAT(error({.model = testing::SmallModelPath(), .max_batch_tokens = -1}),
              HasSubstr("batches"));
  LanguageModel model = Load();
  GenerateOptions options;
  options.max_tokens = 0;
  EXPECT_EQ(model.Generate(kPrompt, options).error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(model.StartConversation("nonsense").error().message, HasSubstr("zephyr"));
}

TEST(Conversation, KeepsItsBeginningAndDropsTheOldestTurns) {
  LoadOptions load;
  load.context = 160;
  LanguageModel model = Load(load);
  auto chat = model.StartConversation("mistral-v1");
  ASSERT_TRUE(chat);
  EXPECT_EQ(chat->chat_format(), "mistral-v1");
  chat->SetSystem("Tell a story.");
  const auto first = chat->Say("A cat?", Greedy(10));
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->cached_tokens, 0);
  const auto second = chat->Say("A dog?", Greedy(10));
  ASSERT_TRUE(second);
  EXPECT_GE(second->cached_tokens, first->prompt_tokens);
  EXPECT_EQ(second->dropped_messages, 0);

  // What is kept changes nothing: the same messages anew give the same answer.
  std::vector<ChatMessage> asked = chat->messages();
  asked.pop_back();
  EXPECT_EQ(model.Chat(asked, Greedy(10), {}, "mistral-v1")->ids, second->ids);

  int64_t dropped = 0;
  for (int i = 0; i < 6; ++i) dropped += chat->Say("And a bird?", Greedy(20))->dropped_messages;
  EXPECT_GT(dropped, 0);
  EXPECT_EQ(dropped % 2, 0);
  EXPECT_EQ(chat->messages().front().role, "system");
  EXPECT_EQ(chat->messages()[1].role, "user");
  EXPECT_LE(*chat->Tokens(), 160);
}

TEST(Conversation, TakesBackWhatCannotBeAnswered) {
  LoadOptions load;
  load.context = 64;
  LanguageModel model = Load(load);
  auto chat = model.StartConversation();
  ASSERT_TRUE(chat->Say("Hello", Greedy(5)));
  const auto failed = chat->Say(std::string(500, 'a'), Greedy(5));
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("the context holds 64"));
  EXPECT_EQ(chat->messages().size(), 2u);
  EXPECT_FALSE(model.StartConversation()->Retry(Greedy(5)));
}

TEST(Conversation, AnswersAgainInPlaceOfTheAnswer) {
  LanguageModel model = Load();
  auto chat = model.StartConversation();
  const auto first = chat->Say("Once", Greedy(10));
  const auto again = chat->Retry(Greedy(10));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->ids, first->ids);
  EXPECT_EQ(chat->messages().size(), 2u);
}

TEST(Conversation, OutlivesTheModelsHandle) {
  auto chat = Load().StartConversation();
  ASSERT_TRUE(chat);
  EXPECT_TRUE(chat->Say("Once", Greedy(5)));
}

}  // namespace
}  // namespace octet
