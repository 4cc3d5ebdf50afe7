// Guessing ahead changes how many steps an answer takes and nothing else.
#include "engine/speculate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "engine/engine.h"
#include "engine/lookup_drafter.h"
#include "engine/model_drafter.h"
#include "support/tiny_model.h"

namespace octet {
namespace {

using ::testing::HasSubstr;

struct GuessedAnswer {
  std::vector<int32_t> ids;
  std::string text;
  std::vector<float> logprobs;
  std::optional<FinishReason> finish;
  int64_t cached_tokens = 0;
  GuessCount guesses;
};

bool operator==(const GuessedAnswer& a, const GuessedAnswer& b) {
  return a.ids == b.ids && a.text == b.text && a.logprobs == b.logprobs && a.finish == b.finish &&
         a.cached_tokens == b.cached_tokens;
}

std::ostream& operator<<(std::ostream& out, const GuessedAnswer& a) {
  return out << a.ids.size() << " tokens \"" << a.text << "\", finish "
             << (a.finish ? FinishReasonName(*a.finish) : "none");
}

/// Knows the answers beforehand; every `wrong_every`th guess is another token.
class Oracle : public Drafter {
 public:
  Oracle(std::map<uint64_t, std::vector<int32_t>> texts, int64_t wrong_every)
      : texts_(std::move(texts)), wrong_every_(wrong_every) {}
  double Draft(std::span<const DraftJob> jobs, Context&) override {
    for (const DraftJob& job : jobs) {
      job.draft->clear();
      const std::vector<int32_t>& text = texts_[job.sequence];
      for (size_t i = job.tokens.size(); i < text.size(); ++i) {
        if (static_cast<int32_t>(job.draft->size()) == job.most) break;
        const bool wrong = wrong_every_ > 0 && static_cast<int64_t>(i) % wrong_every_ == 0;
        job.draft->push_back({wrong ? (text[i] + 1) % testing::kTinyVocab : text[i], 0});
      }
    }
    return 0;
  }
  double FirstRate(int32_t) const override { return 0.5; }

 private:
  std::map<uint64_t, std::vector<int32_t>> texts_;
  int64_t wrong_every_;
};

class SpeculateTest : public ::testing::Test {
 protected:
  static constexpr int32_t kVocab = testing::kTinyVocab;

  EngineOptions Options(std::shared_ptr<Drafter> drafter, int32_t sequences = 1) const {
    EngineOptions options;
    options.threads = 1;
    options.max_sequences = sequences;
    options.page_tokens = 8;
    options.speculation = {std::move(drafter), 6, true};
    return options;
  }
  std::unique_ptr<Engine> Make(const EngineOptions& options) {
    auto engine = Engine::Create(*model_, tokenizer_, options);
    EXPECT_TRUE(engine) << engine.error().message;
    return *std::move(engine);
  }
  static std::shared_ptr<Drafter> Lookup(int32_t sequences = 1) {
    return std::make_shared<LookupDrafter>(sequences, 256);
  }
  std::shared_ptr<Drafter> ByModel(const Model& model, int32_t sequences = 1) const {
    ModelDrafterOptions options;
    options.max_context = 256;
    options.page_tokens = 8;
    options.max_sequences = sequences;
    options.max_batch_tokens = 16;
    options.vocab_size = kVocab;
    auto drafter = ModelDrafter::Create(model, options);
    EXPECT_TRUE(drafter) << drafter.error().message;
    return *std::move(drafter);
  }

  /// One request of every kind of sampling there is.
  static std::vector<Request> Requests() {
    std::vector<SamplingOptions> kinds(8, SamplingOptions::Greedy());
    kinds[1] = SamplingOptions::Plain();
    kinds[2] = SamplingOptions();  // top-k, top-p, min-p at 0.8
    kinds[3].repeat_penalty = 1.3f;
    kinds[3].frequency_penalty = 0.4f;
    kinds[4] = SamplingOptions::Plain();
    kinds[4].mirostat_tau = 2.5f;
    kinds[5].dry_multiplier = 0.8f;
    kinds[5].dry_sequence_breakers = {" "};
    kinds[6].logit_bias = {{5, 3.0f}, {7, -2.0f}};
    kinds[7] = SamplingOptions::Plain();
    kinds[7].temperature = 0.4f;
    kinds[7].typical_p = 0.7f;
    std::vector<Request> requests;
    for (size_t i = 0; i < kinds.size(); ++i) {
      Request& request = requests.emplace_back();
      request.prompt = {1};
      // Of a period, so that there is something to look up.
      for (size_t t = 0; t < 20 + i; ++t)
        request.prompt.push_back(static_cast<int32_t>(4 + t % 5 + i));
      request.max_tokens = 40;
      request.sampling = kinds[i];
      request.sampling.seed = 11 * i;
      request.sampling.ignore_eos = i % 2 == 0;
      request.top_logprobs = 0;
    }
    return requests;
  }

  static std::vector<GuessedAnswer> RunAll(Engine& engine, const std::vector<Request>& requests,
                                           bool together) {
    std::map<uint64_t, GuessedAnswer> answers;
    std::vector<uint64_t> ids;
    const auto drain = [&] {
      while (engine.busy()) {
        for (const Event& event : engine.Step()) Take(event, answers[event.request]);
      }
    };
    for (const Request& request : requests) {
      const auto id = engine.Submit(request);
      EXPECT_TRUE(id) << id.error().message;
      ids.push_back(*id);
      if (!together) drain();
    }
    drain();
    std::vector<GuessedAnswer> in_order;
    for (const uint64_t id : ids) in_order.push_back(answers[id]);
    return in_order;
  }
  static void Take(const Event& event, GuessedAnswer& answer) {
    EXPECT_FALSE(answer.finish) << "an event after the last";
    if (event.token >= 0) {
      answer.ids.push_back(event.token);
      answer.logprobs.push_back(event.logprob);
    }
    answer.text += event.text;
    answer.finish = event.finish;
    answer.cached_tokens = event.cached_tokens;
    answer.guesses = event.guesses;
  }

  std::vector<GuessedAnswer> Plain(const std::vector<Request>& requests) {
    return RunAll(*Make(Options(nullptr)), requests, false);
  }
  /// Prompts and answers by the ids that an engine gives the requests.
  static std::map<uint64_t, std::vector<int32_t>> Texts(const std::vector<Request>& requests,
                                                        const std::vector<GuessedAnswer>& answers) {
    std::map<uint64_t, std::vector<int32_t>> texts;
    for (size_t i = 0; i < requests.size(); ++i) {
      std::vector<int32_t>& text = texts[i + 1] = requests[i].prompt;
      text.insert(text.end(), answers[i].ids.begin(), answers[i].ids.end());
    }
    return texts;
  }
  static GuessCount Sum(const std::vector<GuessedAnswer>& answers) {
    GuessCount sum;
    for (const GuessedAnswer& answer : answers) {
      sum.steps += answer.guesses.steps;
      sum.drafted += answer.guesses.drafted;
      sum.accepted += answer.guesses.accepted;
    }
    return sum;
  }

  std::unique_ptr<Model> model_ = testing::TinyModel();
  testing::LetterTokenizer tokenizer_;
};

TEST_F(SpeculateTest, LookupGivesTheTokensOfPlainDecoding) {
  const auto requests = Requests();
  const auto plain = Plain(requests);
  for (const bool together : {false, true}) {
    auto engine = Make(Options(Lookup(8), 8));
    const int64_t pages = engine->free_pages();
    const auto answers = RunAll(*engine, requests, together);
    EXPECT_EQ(answers, plain);
    const GuessCount sum = Sum(answers);
    EXPECT_GT(sum.accepted, 0);
    EXPECT_GT(sum.drafted, sum.accepted);
    EXPECT_EQ(engine->free_pages(), pages);
  }
}

TEST_F(SpeculateTest, AModelThatIsTheSameGuessesEverythingRight) {
  const auto requests = Requests();
  const auto plain = Plain(requests);
  for (const bool together : {false, true}) {
    const auto answers = RunAll(*Make(Options(ByModel(*model_, 8), 8)), requests, together);
    EXPECT_EQ(answers, plain);
    for (const GuessedAnswer& answer : answers) {
      if (answer.finish != FinishReason::kLength) continue;  // guesses past an end were in vain
      EXPECT_EQ(answer.guesses.accepted, answer.guesses.drafted);
      EXPECT_EQ(answer.guesses.steps + answer.guesses.accepted,
                static_cast<int64_t>(answer.ids.size()));
    }
  }
}

TEST_F(SpeculateTest, AnotherModelsGuessesChangeNothing) {
  const auto requests = Requests();
  const auto plain = Plain(requests);
  const auto other = testing::TinyModel(99);
  for (const bool together : {false, true}) {
    const auto answers = RunAll(*Make(Options(ByModel(*other, 8), 8)), requests, together);
    EXPECT_EQ(answers, plain);
    const GuessCount sum = Sum(answers);
    EXPECT_GT(sum.drafted, sum.accepted);
  }
}

TEST_F(SpeculateTest, GuessesAlwaysWrongOrSometimesWrongChangeNothing) {
  const auto requests = Requests();
  const auto plain = Plain(requests);
  const auto texts = Texts(requests, plain);
  for (const int64_t wrong_every : {0, 1, 2, 5}) {
    for (const bool together : {false, true}) {
      auto oracle = std::make_shared<Oracle>(texts, wrong_every);
      const auto answers = RunAll(*Make(Options(oracle, 8)), requests, together);
      EXPECT_EQ(answers, plain) << wrong_every;
      const GuessCount sum = Sum(answers);
      EXPECT_GT(sum.drafted, 0);
      if (wrong_every == 0) {
        EXPECT_EQ(sum.accepted, sum.drafted);
      } else if (wrong_every == 1) {
        EXPECT_EQ(sum.accepted, 0);
      } else {
        EXPECT_GT(sum.accepted, 0);
      }
    }
  }
}

TEST_F(SpeculateTest, EndsWherePlainDecodingEnds) {
  std::vector<Request> requests(4, Requests()[1]);
  const GuessedAnswer whole = Plain({requests[0]})[0];
  ASSERT_GT(whole.ids.size(), 30u);
  requests[0].stop_strings = {whole.text.substr(7, 3)};
  requests[1].sampling.ignore_eos = false;
  requests[1].stop_ids = {whole.ids[9]};
  requests[2].max_tokens = 11;
  requests[3].stop_strings = {whole.text.substr(whole.text.size() - 2) + "more"};
  const auto plain = Plain(requests);
  EXPECT_EQ(plain[0].finish, FinishReason::kStop);
  EXPECT_EQ(plain[1].finish, FinishReason::kStop);
  const auto texts = Texts(requests, std::vector<GuessedAnswer>(4, whole));
  const auto answers =
      RunAll(*Make(Options(std::make_shared<Oracle>(texts, 0), 4)), requests, true);
  EXPECT_EQ(answers, plain);
  EXPECT_GT(answers[0].guesses.accepted, 0);
}

TEST_F(SpeculateTest, EndsAtTheContextsEnd) {
  Request request = Requests()[0];
  request.max_tokens = 1000;
  EngineOptions options = Options(nullptr);
  options.max_context = 50;
  const auto plain = RunAll(*Make(options), {request}, false);
  EXPECT_EQ(plain[0].finish, FinishReason::kContext);
  options.speculation.drafter = std::make_shared<Oracle>(Texts({request}, plain), 0);
  EXPECT_EQ(RunAll(*Make(options), {request}, false), plain);
}

TEST_F(SpeculateTest, SurvivesPreemptionAndSmallBatches) {
  const auto requests = Requests();
  const auto plain = Plain(requests);
  const auto texts = Texts(requests, plain);
  EngineOptions options = Options(std::make_shared<Oracle>(texts, 3), 6);
  options.page_tokens = 4;
  options.kv_pages = 40;
  options.max_batch_tokens = 9;
  auto engine = Make(options);
  EXPECT_EQ(RunAll(*engine, requests, true), plain);
  EXPECT_GT(engine->stats().preemptions, 0);
  EXPECT_EQ(engine->free_pages(), 40);
}

TEST_F(SpeculateTest, KeepsSessionsAndTheDraftsOwnCache) {
  const auto converse = [&](Engine& engine) {
    std::vector<GuessedAnswer> answers;
    Request request = Requests()[1];
    request.max_tokens = 15;
    request.session = engine.OpenSession();
    for (int turn = 0; turn < 3; ++turn) {
      answers.push_back(RunAll(engine, {request}, false)[0]);
      const auto& ids = answers.back().ids;
      request.prompt.insert(request.prompt.end(), ids.begin(), ids.end());
      request.prompt.push_back(5 + turn);
    }
    return answers;
  };
  const auto plain = converse(*Make(Options(nullptr)));
  EXPECT_GT(plain[2].cached_tokens, 40);
  EXPECT_EQ(converse(*Make(Options(Lookup()))), plain);
  EXPECT_EQ(converse(*Make(Options(ByModel(*model_)))), plain);
}

TEST_F(SpeculateTest, CancelsBetweenGuesses) {
  const auto requests = Requests();
  const auto plain = Plain(requests);
  auto engine = Make(Options(std::make_shared<Oracle>(Texts(requests, plain), 0), 8));
  const int64_t pages = engine->free_pages();
  for (const Request& request : requests) ASSERT_TRUE(engine->Submit(request));
  std::map<uint64_t, GuessedAnswer> answers;
  for (int step = 0; step < 4; ++step) {
    for (const Event& event : engine->Step()) Take(event, answers[event.request]);
  }
  ASSERT_TRUE(engine->Cancel(3));
  while (engine->busy()) {
    for (const Event& event : engine->Step()) Take(event, answers[event.request]);
  }
  EXPECT_EQ(answers[3].finish, FinishReason::kCancelled);
  for (const uint64_t id : {1u, 2u, 4u, 8u}) EXPECT_EQ(answers[id], plain[id - 1]);
  EXPECT_EQ(engine->free_pages(), pages);
}

TEST_F(SpeculateTest, GivesTheSameTokensWhenTheCostModelDecides) {
  auto requests = Requests();
  for (Request& request : requests) request.max_tokens = 120;
  const auto plain = Plain(requests);
  const auto other = testing::TinyModel(99);
  for (const auto& drafter : {Lookup(8), ByModel(*other, 8), ByModel(*model_, 8)}) {
    EngineOptions options = Options(drafter, 8);
    options.speculation.always = false;
    EXPECT_EQ(RunAll(*Make(options), requests, true), plain);
  }
}

TEST_F(SpeculateTest, RefusesAModelOfAnotherVocabulary) {
  ModelDrafterOptions options;
  options.max_context = 64;
  options.vocab_size = kVocab + 1;
  const auto drafter = ModelDrafter::Create(*model_, options);
  ASSERT_FALSE(drafter);
  EXPECT_THAT(drafter.error().message, HasSubstr("share the vocabulary"));
  EXPECT_TRUE(CheckSameVocabulary(tokenizer_, testing::LetterTokenizer()));
}

TEST(PairIndex, FindsTheLongestAgreementAndTheLatestOfEquals) {
  //                               0  1  2  3  4  5  6  7  8  9 10 11 12 13
  const std::vector<int32_t> text = {7, 1, 2, 3, 9, 1, 2, 4, 8, 1, 2, 5, 1, 2};
  PairIndex index(100);
  index.Extend({text.data(), 14});
  EXPECT_EQ(index.Longest({text.data(), 14}).place, 11);
  EXPECT_EQ(index.Longest({text.data(), 14}).length, 2);

  const std::vector<int32_t> longer = {7, 1, 2, 3, 9, 1, 2, 4, 7, 1, 2};
  index.Clear();
  for (size_t n = 1; n <= longer.size(); ++n) index.Extend({longer.data(), n});
  EXPECT_EQ(index.Longest(longer).place, 3);
  EXPECT_EQ(index.Longest(longer).length, 3);
  EXPECT_EQ(index.Longest({longer.data(), 1}).length, 0);
}

TEST(PairIndex, FindsNothingInTextWithoutRepetition) {
  std::vector<int32_t> text(300);
  PairIndex index(300);
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<int32_t>(i * 3);
  index.Extend(text);
  EXPECT_EQ(index.Longest(text).length, 0);
}

TEST_F(SpeculateTest, LookupGoesRoundInALoop) {
  LookupDrafter drafter(1, 100);
  const std::vector<int32_t> text = {9, 4, 5, 6, 4, 5, 6, 4, 5};
  std::vector<DraftToken> draft;
  const DraftJob job = {1, text, nullptr, 5, 0, &draft};
  ThreadPool pool(1);
  const KernelTable kernels;
  Arena arena;
  Context context{pool, kernels, arena};
  drafter.Draft({&job, 1}, context);
  ASSERT_EQ(draft.size(), 5u);
  const int32_t want[] = {6, 4, 5, 6, 4};
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(draft[i].id, want[i]);
}

}  // namespace
}  // namespace octet
