// Log-probabilities of a prompt's own tokens.
#include "engine/engine_testing.h"
#include "sample/log_probs.h"

namespace octet {
namespace {

using testing::EngineTest;

class PromptLogProbs : public EngineTest {
 protected:
  static Request Judged(int i, int64_t prompt_tokens, int64_t max_tokens, int32_t top = 2) {
    Request request = MakeRequest(i, prompt_tokens, max_tokens);
    request.prompt_logprobs = top;
    return request;
  }
  struct Heard {
    std::vector<PromptToken> prompt;
    std::vector<int32_t> ids;
    std::optional<FinishReason> finish;
    int events = 0;
  };
  static std::map<uint64_t, Heard> Listen(Engine& engine) {
    std::map<uint64_t, Heard> heard;
    while (engine.busy()) {
      for (const Event& event : engine.Step()) {
        Heard& h = heard[event.request];
        if (h.events++ == 0) {
          h.prompt = event.prompt;
        } else {
          EXPECT_TRUE(event.prompt.empty());
        }
        if (event.token >= 0) h.ids.push_back(event.token);
        h.finish = event.finish;
      }
    }
    return heard;
  }
  Heard Alone(Engine& engine, Request request) {
    const auto id = engine.Submit(std::move(request));
    EXPECT_TRUE(id) << id.error().message;
    return Listen(engine)[*id];
  }
  /// Of the logits of every position, computed apart.
  std::vector<PromptToken> Expected(const std::vector<int32_t>& prompt, int32_t top = 2) {
    const auto engine = Make();
    const std::vector<float> all = *engine->AllLogits(prompt);
    std::vector<PromptToken> expected(prompt.size() - 1);
    for (size_t i = 0; i + 1 < prompt.size(); ++i) {
      const std::span<const float> row = std::span(all).subspan(i * kVocab, kVocab);
      const double sum = LogSumExp(row);
      expected[i].logprob = static_cast<float>(row[static_cast<size_t>(prompt[i + 1])] - sum);
      TopLogProbs(row, sum, top, expected[i].top);
    }
    return expected;
  }
  static void ExpectEqual(const std::vector<PromptToken>& got,
                          const std::vector<PromptToken>& expected) {
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].logprob, expected[i].logprob) << i;
      ASSERT_EQ(got[i].top.size(), expected[i].top.size());
      for (size_t j = 0; j < got[i].top.size(); ++j) {
        EXPECT_EQ(got[i].top[j].id, expected[i].top[j].id);
        EXPECT_EQ(got[i].top[j].logprob, expected[i].top[j].logprob);
      }
    }
  }
};

TEST_F(PromptLogProbs, AreThoseOfTheLogitsOfEveryPosition) {
  const Request request = Judged(1, 23, 5);
  const auto expected = Expected(request.prompt);
  const Heard heard = Alone(*Make(), request);
  ExpectEqual(heard.prompt, expected);
  EXPECT_EQ(heard.ids, Run(*Make(), MakeRequest(1, 23, 5)).ids);
  EngineOptions chunks;
  chunks.max_batch_tokens = 4;
  ExpectEqual(Alone(*Make(chunks), request).prompt, expected);
}

TEST_F(PromptLogProbs, NeedNoAnswer) {
  const auto engine = Make();
  for (const int64_t tokens : {2, 3, 23, 64, 65}) {
    const Request request = Judged(0, tokens, 0);
    const int64_t rows = engine->stats().logit_rows;
    const Heard heard = Alone(*engine, request);
    ExpectEqual(heard.prompt, Expected(request.prompt));
    EXPECT_TRUE(heard.ids.empty());
    EXPECT_EQ(heard.finish, FinishReason::kLength);
    // The last token's row is about nothing that was asked for.
    EXPECT_EQ(engine->stats().logit_rows - rows, tokens - 1);
  }
  EXPECT_EQ(engine->free_pages(), engine->stats().pages);
}

TEST_F(PromptLogProbs, AreComputedForThemThatAskAlone) {
  EngineOptions options;
  options.max_sequences = 6;
  options.max_batch_tokens = 16;
  options.max_prompt_rows = 5;
  const auto engine = Make(options);
  std::map<uint64_t, std::vector<PromptToken>> expected;
  std::map<uint64_t, std::vector<int32_t>> answers;
  int64_t rows = 0;
  for (int i = 0; i < 8; ++i) {
    const bool judged = i % 3 == 0;
    Request request = judged ? Judged(i, 20 + i, i % 2 * 7) : MakeRequest(i, 20 + i, 7);
    rows += request.max_tokens + (judged ? 19 + i : 0);
    const auto id = *engine->Submit(request);
    expected[id] = judged ? Expected(request.prompt) : std::vector<PromptToken>();
    if (request.max_tokens > 0) answers[id] = Run(*Make(), MakeRequest(i, 20 + i, 7)).ids;
  }
  auto heard = Listen(*engine);
  for (const auto& [id, tokens] : expected) {
    ExpectEqual(heard[id].prompt, tokens);
    EXPECT_EQ(heard[id].ids, answers[id]);
  }
  EXPECT_EQ(engine->stats().logit_rows, rows);
}

TEST_F(PromptLogProbs, AreToldOnceWhateverIsComputedAgain) {
  EngineOptions scarce;
  scarce.max_sequences = 4;
  scarce.page_tokens = 4;
  scarce.max_context = 48;
  scarce.kv_pages = 20;
  scarce.max_batch_tokens = 12;
  scarce.keep_prefixes = true;
  const auto engine = Make(scarce);
  std::map<uint64_t, std::vector<PromptToken>> expected;
  for (int i = 0; i < 6; ++i) {
    const Request request = Judged(i % 3, 18, 20);
    expected[*engine->Submit(request)] = Expected(request.prompt);
  }
  auto heard = Listen(*engine);
  EXPECT_GT(engine->stats().preemptions, 0);
  for (const auto& [id, tokens] : expected) ExpectEqual(heard[id].prompt, tokens);
}

TEST_F(PromptLogProbs, OfWhatNeedsNoStepComeAtOnce) {
  const auto engine = Make();
  const Heard one = Alone(*engine, Judged(0, 1, 0));
  EXPECT_TRUE(one.prompt.empty());
  EXPECT_EQ(one.finish, FinishReason::kLength);
  Request nothing = MakeRequest(0, 9, 0);
  EXPECT_EQ(Alone(*engine, nothing).finish, FinishReason::kLength);
  EXPECT_EQ(engine->stats().steps, 0);
  nothing.max_tokens = -1;
  EXPECT_FALSE(engine->Submit(nothing));
  Request in_session = Judged(0, 9, 4);
  in_session.session = engine->OpenSession();
  EXPECT_FALSE(engine->Submit(std::move(in_session)));
}

}  // namespace
}  // namespace octet
