#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/engine_testing.h"
#include "support/shared_data.h"

namespace octet {
namespace {

using testing::Answer;
using testing::EngineTest;
using ::testing::HasSubstr;

TEST_F(EngineTest, GivesEachOfEightTheTokensItGetsAlone) {
  const auto alone = Alone(8, 10, 20);
  EngineOptions options;
  options.max_sequences = 8;
  auto engine = Make(options);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(engine->Submit(MakeRequest(i)));
  auto answers = RunAll(*engine);
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(answers[static_cast<uint64_t>(i) + 1].ids, alone[static_cast<size_t>(i)]) << i;
    EXPECT_EQ(answers[static_cast<uint64_t>(i) + 1].finish, FinishReason::kLength);
  }
}

TEST_F(EngineTest, GivesTheSameTokensHoweverPromptsAreCut) {
  const auto alone = Alone(4, 40, 12);
  for (const int32_t chunk : {4, 7, 64}) {
    EngineOptions options;
    options.max_sequences = 4;
    options.max_batch_tokens = chunk;
    options.page_tokens = chunk;
    auto engine = Make(options);
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(engine->Submit(MakeRequest(i, 40, 12)));
    auto answers = RunAll(*engine);
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(answers[static_cast<uint64_t>(i) + 1].ids, alone[static_cast<size_t>(i)]) << i;
    }
  }
}

TEST_F(EngineTest, GivesTheSameTokensAfterPreemption) {
  const auto alone = Alone(6, 10, 40);
  EngineOptions options;
  options.max_sequences = 6;
  options.page_tokens = 4;
  options.kv_pages = 26;  // two sequences of 50 tokens at most
  auto engine = Make(options);
  const int64_t pages = engine->free_pages();
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(engine->Submit(MakeRequest(i, 10, 40)));
  auto answers = RunAll(*engine);
  EXPECT_GT(engine->stats().preemptions, 0);
  EXPECT_EQ(engine->free_pages(), pages);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(answers[static_cast<uint64_t>(i) + 1].ids, alone[static_cast<size_t>(i)]) << i;
  }
}

TEST_F(EngineTest, CancelsOneRequestAndLeavesTheOthersAlone) {
  const auto alone = Alone(3, 10, 20);
  EngineOptions options;
  options.max_sequences = 2;
  auto engine = Make(options);
  const int64_t pages = engine->free_pages();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(engine->Submit(MakeRequest(i)));
  std::map<uint64_t, Answer> answers;
  for (int step = 0; step < 5; ++step) Take(engine->Step(), answers);
  ASSERT_TRUE(engine->Cancel(2));
  EXPECT_EQ(engine->Cancel(2).error().code, ErrorCode::kNotFound);
  while (engine->busy()) Take(engine->Step(), answers);
  EXPECT_EQ(answers[1].ids, alone[0]);
  EXPECT_EQ(answers[3].ids, alone[2]);
  EXPECT_EQ(answers[2].finish, FinishReason::kCancelled);
  ASSERT_EQ(answers[2].ids.size(), 5u);
  EXPECT_TRUE(std::equal(answers[2].ids.begin(), answers[2].ids.end(), alone[1].begin()));
  EXPECT_EQ(engine->free_pages(), pages);
}

TEST_F(EngineTest, CancelsARequestThatStillWaits) {
  auto engine = Make();
  ASSERT_TRUE(engine->Submit(MakeRequest(0)));
  const auto waiting = engine->Submit(MakeRequest(1));
  ASSERT_TRUE(engine->Cancel(*waiting));
  auto answers = RunAll(*engine);
  EXPECT_EQ(answers[*waiting].finish, FinishReason::kCancelled);
  EXPECT_TRUE(answers[*waiting].ids.empty());
}

TEST_F(EngineTest, EndsAtTheContextsEnd) {
  EngineOptions options;
  options.max_context = 24;
  auto engine = Make(options);
  const Answer answer = Run(*engine, MakeRequest(0, 10, 1000));
  EXPECT_EQ(answer.finish, FinishReason::kContext);
  EXPECT_EQ(answer.ids.size(), 14u);
}

TEST_F(EngineTest, EndsAtAStopTokenWithoutItsText) {
  auto engine = Make();
  const Answer whole = Run(*engine, MakeRequest(1));
  Request request = MakeRequest(1);
  request.sampling.ignore_eos = false;
  request.stop_ids = {whole.ids[5]};
  const auto first = std::find(whole.ids.begin(), whole.ids.end(), whole.ids[5]);
  const Answer answer = Run(*engine, std::move(request));
  EXPECT_EQ(answer.finish, FinishReason::kStop);
  EXPECT_EQ(answer.ids, std::vector<int32_t>(whole.ids.begin(), first + 1));
  EXPECT_EQ(answer.text, tokenizer_.Decode({answer.ids.data(), answer.ids.size() - 1}));
}

TEST_F(EngineTest, EndsBeforeAStopStringOfSeveralTokens) {
  auto engine = Make();
  const Answer whole = Run(*engine, MakeRequest(0));
  Request request = MakeRequest(0);
  request.stop_strings = {"never", whole.text.substr(6, 3)};
  const Answer answer = Run(*engine, std::move(request));
  EXPECT_EQ(answer.finish, FinishReason::kStop);
  EXPECT_EQ(answer.text, whole.text.substr(0, whole.text.find(whole.text.substr(6, 3))));
}

TEST_F(EngineTest, GivesOutHeldBackTextWhenTheAnswerEnds) {
  auto engine = Make();
  const Answer whole = Run(*engine, MakeRequest(0));
  Request request = MakeRequest(0);
  request.stop_strings = {whole.text.substr(whole.text.size() - 2) + "more"};
  EXPECT_EQ(Run(*engine, std::move(request)).text, whole.text);
}

TEST_F(EngineTest, ReportsLogProbabilities) {
  auto engine = Make();
  Request request = MakeRequest(1, 10, 3);  // greedy
  request.top_logprobs = kVocab;
  const auto id = engine->Submit(std::move(request));
  ASSERT_TRUE(id);
  while (engine->busy()) {
    for (const Event& event : engine->Step()) {
      ASSERT_EQ(event.top_logprobs.size(), static_cast<size_t>(kVocab));
      double sum = 0;
      for (const TokenLogProb& t : event.top_logprobs) {
        sum += std::exp(t.logprob);
        if (t.id == event.token) {
          EXPECT_EQ(t.logprob, event.logprob);
        }
      }
      EXPECT_NEAR(sum, 1, kVocab * 0x1p-22);
    }
  }
}

TEST_F(EngineTest, KeepsASessionsBeginningBetweenRequests) {
  auto engine = Make();
  const int64_t session = engine->OpenSession();
  Request first = MakeRequest(0, 20, 10);
  std::vector<int32_t> prompt = first.prompt;
  first.session = session;
  const Answer answer = Run(*engine, std::move(first));
  EXPECT_EQ(answer.cached_tokens, 0);

  Request second = MakeRequest(2, 1, 10);
  second.prompt = prompt;
  second.prompt.insert(second.prompt.end(), answer.ids.begin(), answer.ids.end());
  second.prompt.push_back(5);
  const Answer fresh = Run(*engine, second);
  second.session = session;
  const Answer kept = Run(*engine, second);
  EXPECT_EQ(kept.cached_tokens, 29);  // all but the last answer token, which nothing followed
  EXPECT_EQ(kept.ids, fresh.ids);

  Request third = second;
  third.prompt.resize(15);
  third.prompt.push_back(7);
  third.session = 0;
  const Answer fresh_third = Run(*engine, third);
  third.session = session;
  const Answer kept_third = Run(*engine, third);
  EXPECT_EQ(kept_third.cached_tokens, 15);
  EXPECT_EQ(kept_third.ids, fresh_third.ids);
}

TEST_F(EngineTest, TakesPagesFromIdleSessionsWhenNeeded) {
  EngineOptions options;
  options.page_tokens = 4;
  options.kv_pages = 10;
  auto engine = Make(options);
  Request request = MakeRequest(0, 20, 8);
  request.session = engine->OpenSession();
  const Answer first = Run(*engine, request);
  EXPECT_LT(engine->free_pages(), 10);
  EXPECT_EQ(Run(*engine, MakeRequest(1, 30, 8)).finish, FinishReason::kLength);
  EXPECT_EQ(engine->stats().preemptions, 0);
  EXPECT_EQ(Run(*engine, request).ids, first.ids);
  engine->CloseSession(request.session);
  EXPECT_EQ(engine->free_pages(), 10);
}

TEST_F(EngineTest, SaysWhatIsWrongWithARequest) {
  EngineOptions options;
  options.max_context = 32;
  auto engine = Make(options);
  const auto message = [&](auto change) {
    Request request = MakeRequest(0);
    change(request);
    const auto id = engine->Submit(std::move(request));
    return id ? std::string() : id.error().message;
  };
  EXPECT_THAT(message([](Request& r) { r.prompt.clear(); }), HasSubstr("prompt is empty"));
  EXPECT_THAT(message([](Request& r) { r.prompt[3] = kVocab; }), HasSubstr("token 30"));
  EXPECT_THAT(message([](Request& r) { r.prompt[3] = -1; }), HasSubstr("token -1"));
  EXPECT_THAT(message([](Request& r) { r.prompt.resize(32, 4); }), HasSubstr("context holds 32"));
  EXPECT_THAT(message([](Request& r) { r.max_tokens = -1; }), HasSubstr("max_tokens"));
  EXPECT_THAT(message([](Request& r) { r.stop_strings = {""}; }), HasSubstr("stop string"));
  EXPECT_THAT(message([](Request& r) { r.sampling.top_p = 2; }), HasSubstr("top_p"));
  EXPECT_THAT(message([](Request& r) { r.session = 77; }), HasSubstr("session 77"));
  EXPECT_FALSE(engine->busy());
  EngineOptions bad;
  bad.max_batch_tokens = 0;
  EXPECT_FALSE(Engine::Create(*model_, tokenizer_, bad));
}

TEST_F(EngineTest, GivesAllLogitsEqualToThoseOfSteps) {
  EngineOptions options;
  options.max_batch_tokens = 7;
  auto engine = Make(options);
  const std::vector<int32_t> ids = MakeRequest(0, 30).prompt;
  const auto all = engine->AllLogits(ids);
  ASSERT_TRUE(all);
  const auto whole = Make()->AllLogits(ids);
  EXPECT_EQ(*all, *whole);
  // The last row chooses what a greedy request begins with.
  Request request = MakeRequest(1, 30, 1);
  request.prompt = ids;
  const auto last = all->end() - kVocab;
  std::vector<float> row(last, all->end());
  row[2] = -1e9f;  // ignore_eos
  EXPECT_EQ(Run(*engine, request).ids[0], std::max_element(row.begin(), row.end()) - row.begin());
}

TEST(EngineGolden, ContinuesTheReferenceModelTokenForToken) {
  OCTET_NEEDS_SHARED_DATA();
  const auto reference = testing::SharedData() / "reference";
  auto checkpoint = OpenCheckpoint(reference / "models/mixtral-tiny/hf-bf16-sharded");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  auto model = Model::Load(*std::move(checkpoint));
  ASSERT_TRUE(model) << model.error().message;
  const testing::Golden golden(reference / "golden/mixtral-tiny/infer");
  const testing::LetterTokenizer tokenizer;  // the ids matter here, not their text
  EngineOptions options;
  options.arithmetic = Arithmetic::kFloat32;
  options.kv_format = Format::kF32;
  auto engine = Engine::Create(**model, tokenizer, options);
  ASSERT_TRUE(engine) << engine.error().message;
  Request request;
  request.prompt = golden.Get<int32_t>("greedy_prompt_ids");
  request.sampling = SamplingOptions::Greedy();
  const auto want = golden.Get<int32_t>("greedy_ids");
  request.max_tokens = static_cast<int64_t>(want.size());
  ASSERT_TRUE((*engine)->Submit(std::move(request)));
  std::vector<int32_t> got;
  while ((*engine)->busy()) {
    for (const Event& event : (*engine)->Step()) got.push_back(event.token);
  }
  EXPECT_EQ(got, want);
}

}  // namespace
}  // namespace octet
