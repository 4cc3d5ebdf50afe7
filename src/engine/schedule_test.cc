// Whose turn it is, and what a step may hold.
#include "engine/engine_testing.h"

namespace octet {
namespace {

using testing::EngineTest;

class ScheduleTest : public EngineTest {
 protected:
  /// The order in which requests get their first token, by id.
  static std::vector<uint64_t> Order(Engine& engine) {
    std::vector<uint64_t> order;
    while (engine.busy()) {
      for (const Event& event : engine.Step()) {
        if (std::find(order.begin(), order.end(), event.request) == order.end()) {
          order.push_back(event.request);
        }
      }
    }
    return order;
  }
  static Request For(const char* client, int i, int32_t priority = 0) {
    Request request = MakeRequest(i, 10, 6);
    request.client = client;
    request.priority = priority;
    return request;
  }
};

TEST_F(ScheduleTest, AnswersClientsInTurn) {
  auto engine = Make();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(engine->Submit(For("many", i)));
  ASSERT_TRUE(engine->Submit(For("few", 4)));
  ASSERT_TRUE(engine->Submit(For("few", 5)));
  EXPECT_EQ(Order(*engine), (std::vector<uint64_t>{1, 5, 2, 6, 3, 4}));
}

TEST_F(ScheduleTest, LetsNobodySaveUpTurns) {
  auto engine = Make();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(engine->Submit(For("early", i)));
  for (int step = 0; step < 20; ++step) engine->Step();  // three of them are over
  for (int i = 5; i < 8; ++i) ASSERT_TRUE(engine->Submit(For("late", i)));
  const auto order = Order(*engine);
  // The late one starts level: its three do not all come before the other's last.
  const auto at = [&](uint64_t id) {
    return std::find(order.begin(), order.end(), id) - order.begin();
  };
  EXPECT_LT(at(5), at(8));
}

TEST_F(ScheduleTest, BeginsWithTheHighestPriority) {
  auto engine = Make();
  ASSERT_TRUE(engine->Submit(For("a", 0)));
  ASSERT_TRUE(engine->Submit(For("b", 1, -1)));
  ASSERT_TRUE(engine->Submit(For("a", 2, 1)));
  EXPECT_EQ(Order(*engine), (std::vector<uint64_t>{3, 1, 2}));
}

TEST_F(ScheduleTest, TakesPagesFromTheLowestPriority) {
  EngineOptions options;
  options.max_sequences = 3;
  options.page_tokens = 4;
  options.kv_pages = 13;
  auto engine = Make(options);
  Request low = MakeRequest(0, 10, 40), high = MakeRequest(1, 10, 40);
  low.priority = -1;
  const auto low_id = engine->Submit(low);
  for (int step = 0; step < 2; ++step) engine->Step();
  const auto high_id = engine->Submit(high);
  std::vector<uint64_t> finished;
  while (engine->busy()) {
    for (const Event& event : engine->Step()) {
      if (event.finish) finished.push_back(event.request);
    }
  }
  EXPECT_GT(engine->stats().preemptions, 0);
  EXPECT_EQ(finished, (std::vector<uint64_t>{*high_id, *low_id}));
}

TEST_F(ScheduleTest, BoundsPromptRowsWhileOthersDecode) {
  EngineOptions options;
  options.max_sequences = 4;
  options.max_prompt_rows = 5;
  auto engine = Make(options);
  ASSERT_TRUE(engine->Submit(MakeRequest(0, 10, 60)));
  engine->Step();
  ASSERT_TRUE(engine->Submit(MakeRequest(1, 60, 5)));
  ASSERT_TRUE(engine->Submit(MakeRequest(2, 12, 5)));
  std::vector<uint64_t> first;
  for (int step = 0; step < 15; ++step) {
    const auto events = engine->Step();
    EXPECT_TRUE(std::ranges::any_of(events, [](const Event& e) { return e.request == 1; }));
    EXPECT_LE(engine->stats().last_rows, 5 + engine->stats().last_sequences);
    for (const Event& e : events) {
      if (std::find(first.begin(), first.end(), e.request) == first.end()) {
        first.push_back(e.request);
      }
    }
  }
  // The short prompt does not wait for the long one, nor the long one for ever.
  EXPECT_EQ(first, (std::vector<uint64_t>{1, 3, 2}));
}

TEST_F(ScheduleTest, EndsWhatIsPastItsDeadlineAndLeavesTheRestAlone) {
  const auto alone = Alone(3, 10, 20);
  EngineOptions options;
  options.max_sequences = 2;
  auto engine = Make(options);
  const int64_t pages = engine->free_pages();
  const auto past = std::chrono::steady_clock::now();
  for (int i = 0; i < 3; ++i) {
    Request request = MakeRequest(i);
    if (i != 1) request.deadline = past + std::chrono::hours(1);
    if (i == 1) request.deadline = past;
    ASSERT_TRUE(engine->Submit(std::move(request)));
  }
  auto answers = RunAll(*engine);
  EXPECT_EQ(answers[2].finish, FinishReason::kDeadline);
  EXPECT_TRUE(answers[2].ids.empty());
  EXPECT_EQ(answers[1].ids, alone[0]);
  EXPECT_EQ(answers[3].ids, alone[2]);
  EXPECT_EQ(engine->free_pages(), pages);
  EXPECT_EQ(engine->stats().cancelled, 1);
}

TEST_F(ScheduleTest, TellsWhichStopStringEndedAnAnswer) {
  auto engine = Make();
  const auto whole = Run(*engine, MakeRequest(0));
  Request request = MakeRequest(0);
  request.stop_strings = {"never", whole.text.substr(6, 3)};
  ASSERT_TRUE(engine->Submit(std::move(request)));
  std::string stop;
  while (engine->busy()) {
    for (const Event& event : engine->Step()) stop = event.stop;
  }
  EXPECT_EQ(stop, whole.text.substr(6, 3));
}

}  // namespace
}  // namespace octet
