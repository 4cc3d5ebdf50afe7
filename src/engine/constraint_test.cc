// Constrained requests among others: what they say, when they end, and that nothing else changes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "engine/engine_testing.h"
#include "engine/lookup_drafter.h"

namespace octet {
namespace {

using testing::Answer;
using ::testing::HasSubstr;

class ConstrainedEngine : public testing::EngineTest {
 protected:
  static Request Constrained(int i, int64_t max_tokens = 30) {
    Request request = MakeRequest(i, 10, max_tokens);
    request.constraint = {Constraint::Kind::kGrammar, kGrammar};
    request.sampling.ignore_eos = false;
    return request;
  }
  static void ExpectValid(const Answer& answer) {
    EXPECT_TRUE(std::regex_match(answer.text, std::regex("([a-c]+x )+zz|q"))) << answer.text;
  }
  static constexpr const char* kGrammar = R"(root ::= ([a-c]+ "x ")+ "zz" | "q")";
};

TEST_F(ConstrainedEngine, EndsEveryAnswerInTimeAndWhole) {
  for (int64_t most = 1; most < 30; ++most) {
    auto engine = Make();
    for (int i = 0; i < 4; ++i) {
      const Answer answer = Run(*engine, Constrained(i, most));
      ExpectValid(answer);
      EXPECT_LE(static_cast<int64_t>(answer.ids.size()), most);
      EXPECT_EQ(answer.finish, FinishReason::kStop);
    }
  }
}

TEST_F(ConstrainedEngine, EndsWithTheContextToo) {
  EngineOptions options;
  options.max_context = 24;
  auto engine = Make(options);
  for (int i = 0; i < 6; ++i) ExpectValid(Run(*engine, Constrained(i, 200)));
}

TEST_F(ConstrainedEngine, MayBeCutWhereTheGrammarGoesOn) {
  auto engine = Make();
  Request request = Constrained(0, 6);
  request.constraint.text = "root ::= [a-c]+";
  request.sampling.ignore_eos = true;
  const Answer answer = Run(*engine, std::move(request));
  EXPECT_TRUE(std::regex_match(answer.text, std::regex("[a-c]{6}"))) << answer.text;
  EXPECT_EQ(answer.finish, FinishReason::kLength);
}

TEST_F(ConstrainedEngine, SaysTheSameAmongOthersAfterPreemptionAndWithGuesses) {
  std::vector<std::vector<int32_t>> alone;
  auto quiet = Make();
  for (int i = 0; i < 6; ++i) {
    alone.push_back(Run(*quiet, i % 3 == 0 ? MakeRequest(i, 10, 40) : Constrained(i, 40)).ids);
  }
  for (const bool guess : {false, true}) {
    EngineOptions options;
    options.max_sequences = 6;
    options.page_tokens = 4;
    options.kv_pages = 26;
    options.keep_prefixes = true;
    if (guess) {
      options.speculation.drafter = std::make_shared<LookupDrafter>(6, 64);
      options.speculation.always = true;
      options.kv_pages = 100;
    }
    auto engine = Make(options);
    for (int i = 0; i < 6; ++i) {
      ASSERT_TRUE(engine->Submit(i % 3 == 0 ? MakeRequest(i, 10, 40) : Constrained(i, 40)));
    }
    auto answers = RunAll(*engine);
    EXPECT_EQ(engine->stats().preemptions > 0, !guess);
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(answers[static_cast<uint64_t>(i) + 1].ids, alone[static_cast<size_t>(i)]) << i;
    }
  }
}

TEST_F(ConstrainedEngine, RefusesWhatCannotBe) {
  auto engine = Make();
  const auto fault = [&](Constraint constraint, int64_t max_tokens) {
    Request request = MakeRequest(0, 10, max_tokens);
    request.constraint = std::move(constraint);
    const auto id = engine->Submit(std::move(request));
    return id ? std::string("none") : id.error().message;
  };
  using Kind = Constraint::Kind;
  EXPECT_THAT(fault({Kind::kGrammar, "root ::= \"abc\""}, 2), HasSubstr("take 3 tokens"));
  EXPECT_EQ(fault({Kind::kGrammar, "root ::= \"abc\""}, 3), "none");
  EXPECT_THAT(fault({Kind::kGrammar, "root ::= abc"}, 9), HasSubstr("line 1"));
  // The tokenizer of this test has letters alone.
  EXPECT_THAT(fault({Kind::kJson, {}}, 9), HasSubstr("vocabulary"));
}

TEST_F(ConstrainedEngine, GivesOutWhatAStopStringHeldBack) {
  auto engine = Make();
  Request request = Constrained(0);
  request.constraint.text = "root ::= \"abc\"";
  request.stop_strings = {"cd"};
  const Answer answer = Run(*engine, std::move(request));
  EXPECT_EQ(answer.text, "abc");
  EXPECT_EQ(answer.finish, FinishReason::kStop);
}

}  // namespace
}  // namespace octet
