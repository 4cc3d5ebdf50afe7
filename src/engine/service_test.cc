#include "engine/service.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>

#include "engine/engine_testing.h"

namespace octet {
namespace {

using testing::Answer;
using testing::EngineTest;

/// What one request's sink hears; any thread may wait for it.
class Listener {
 public:
  EventSink Sink() {
    return [this](const std::vector<Event>& events) {
      const std::lock_guard lock(mutex_);
      ++calls_;
      for (const Event& event : events) {
        EXPECT_FALSE(answer_.finish) << "an event after the last";
        if (event.token >= 0) answer_.ids.push_back(event.token);
        answer_.finish = event.finish;
      }
      changed_.notify_all();
    };
  }
  Answer Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return answer_.finish.has_value(); });
    return answer_;
  }
  void WaitForTokens(size_t n) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return answer_.ids.size() >= n || answer_.finish; });
  }

  int64_t calls() {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  int64_t calls_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  Answer answer_;
};

class ServiceTest : public EngineTest {
 protected:
  EngineService MakeService(int32_t parallel, int64_t max_waiting = 100) {
    EngineOptions options;
    options.max_sequences = parallel;
    options.keep_prefixes = true;
    options.page_tokens = 8;
    return EngineService(Make(options), {max_waiting});
  }
};

TEST_F(ServiceTest, AnswersManyThreadsAsIfEachWereAlone) {
  constexpr int kThreads = 16;
  const auto alone = Alone(kThreads, 20, 15);
  EngineService service = MakeService(5);
  std::vector<Answer> answers(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        Listener listener;
        ASSERT_TRUE(service.Submit(MakeRequest(i, 20, 15), listener.Sink()));
        answers[static_cast<size_t>(i)] = listener.Wait();
      });
    }
  }
  for (size_t i = 0; i < kThreads; ++i) EXPECT_EQ(answers[i].ids, alone[i]) << i;
  EXPECT_TRUE(service.WaitUntilIdle(std::chrono::seconds(60)));
  const EngineStats stats = service.stats();
  EXPECT_EQ(stats.finished, kThreads);
  EXPECT_EQ(stats.waiting + stats.running, 0);
  EXPECT_EQ(stats.free_pages + stats.unused_prefix_pages, stats.pages);
}

TEST_F(ServiceTest, TellsEventsOfFastStepsTogether) {
  EngineOptions options;
  EngineService slow(Make(options), {.pace = std::chrono::hours(1)});
  EngineService prompt(Make(options), {.pace = std::chrono::microseconds(0)});
  Listener together, single;
  ASSERT_TRUE(slow.Submit(MakeRequest(0, 10, 30), together.Sink()));
  ASSERT_TRUE(prompt.Submit(MakeRequest(0, 10, 30), single.Sink()));
  // Nothing is held back once there is no further step; the first step's event may be told alone.
  EXPECT_EQ(together.Wait().ids, single.Wait().ids);
  EXPECT_LE(together.calls(), 2);
  EXPECT_EQ(single.calls(), 30);
}

TEST_F(ServiceTest, TellsAnAnswersEndAtOnce) {
  EngineOptions options;
  options.max_sequences = 2;
  EngineService slow(Make(options), {.pace = std::chrono::hours(1)});
  Listener longer, shorter;
  ASSERT_TRUE(slow.Submit(MakeRequest(0, 10, 240), longer.Sink()));
  // Counted where the shorter one's end is told: whoever waits for it may wake late.
  std::atomic<int64_t> calls = -1;
  ASSERT_TRUE(
      slow.Submit(MakeRequest(1, 10, 5), [&, tell = shorter.Sink()](std::vector<Event>& events) {
        calls = longer.calls();
        tell(events);
      }));
  EXPECT_EQ(shorter.Wait().ids.size(), 5u);
  // Told by itself, and not with what the other has meanwhile.
  EXPECT_GE(calls, 0);
  EXPECT_LE(calls, 1);
  EXPECT_EQ(longer.Wait().ids.size(), 240u);
  EXPECT_LE(longer.calls(), 2);
}

TEST_F(ServiceTest, TakesNoMoreThanFitTheQueue) {
  EngineService service = MakeService(1, 2);
  std::vector<Listener> listeners(4);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(service.Submit(MakeRequest(i, 10, 240), listeners[static_cast<size_t>(i)].Sink()));
  }
  const auto refused = service.Submit(MakeRequest(3), listeners[3].Sink());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, Refusal::Kind::kQueueFull);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(listeners[i].Wait().ids.size(), 240u);
  service.WaitUntilIdle(std::chrono::seconds(60));
  EXPECT_TRUE(service.Submit(MakeRequest(3), listeners[3].Sink()));
  listeners[3].Wait();
}

TEST_F(ServiceTest, RefusesWhatCannotBeHonouredWithoutTakingAPlace) {
  EngineService service = MakeService(1, 0);
  Listener listener;
  for (int i = 0; i < 3; ++i) {
    Request request = MakeRequest(0);
    request.prompt.clear();
    const auto refused = service.Submit(std::move(request), listener.Sink());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, Refusal::Kind::kInvalid);
  }
  EXPECT_TRUE(service.Submit(MakeRequest(0), listener.Sink()));
  listener.Wait();
}

TEST_F(ServiceTest, CancelsWithoutTouchingOthers) {
  const auto alone = Alone(2, 10, 100);
  EngineService service = MakeService(2);
  Listener gone, stays;
  const auto id = service.Submit(MakeRequest(0, 10, 240), gone.Sink());
  ASSERT_TRUE(id);
  ASSERT_TRUE(service.Submit(MakeRequest(1, 10, 100), stays.Sink()));
  gone.WaitForTokens(3);
  service.Cancel(*id);
  service.Cancel(*id);
  const Answer answer = gone.Wait();
  if (answer.ids.size() < 240) {
    EXPECT_EQ(answer.finish, FinishReason::kCancelled);
  }
  EXPECT_EQ(stays.Wait().ids, alone[1]);
  service.WaitUntilIdle(std::chrono::seconds(60));
  EXPECT_EQ(service.stats().free_pages + service.stats().unused_prefix_pages,
            service.stats().pages);
}

TEST_F(ServiceTest, AnswersWhatIsInAndTakesNothingNewOnceItDrains) {
  EngineService service = MakeService(1);
  Listener inside, outside;
  ASSERT_TRUE(service.Submit(MakeRequest(0), inside.Sink()));
  service.Drain();
  const auto refused = service.Submit(MakeRequest(1), outside.Sink());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, Refusal::Kind::kDraining);
  EXPECT_EQ(inside.Wait().finish, FinishReason::kLength);
}

TEST_F(ServiceTest, TellsEverybodyWhenItEnds) {
  Listener a, b;
  {
    EngineService service = MakeService(1);
    ASSERT_TRUE(service.Submit(MakeRequest(0, 10, 240), a.Sink()));
    ASSERT_TRUE(service.Submit(MakeRequest(1, 10, 240), b.Sink()));
  }
  a.Wait();
  EXPECT_EQ(b.Wait().finish, FinishReason::kCancelled);
}

TEST_F(ServiceTest, RefusesOnceItHasStopped) {
  EngineService service = MakeService(1);
  Listener listener;
  const auto id = service.Submit(MakeRequest(0, 10, 240), listener.Sink());
  ASSERT_TRUE(id);
  service.Stop();
  listener.Wait();
  service.Cancel(*id);
  const auto refused = service.Submit(MakeRequest(1), [](const std::vector<Event>&) {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, Refusal::Kind::kDraining);
}

TEST_F(ServiceTest, TellsATaskThatItWillNotRun) {
  std::atomic<int> told = 0;
  {
    EngineService service = MakeService(1);
    for (int i = 0; i < 50; ++i) {
      ASSERT_TRUE(service.Run([&](Engine*) { ++told; }));
    }
  }
  EXPECT_EQ(told, 50);
}

TEST_F(ServiceTest, RunsTasksBetweenSteps) {
  EngineService service = MakeService(1);
  std::vector<float> logits;
  Listener listener;
  ASSERT_TRUE(service.Submit(MakeRequest(0), listener.Sink()));
  std::mutex mutex;
  std::condition_variable done;
  std::unique_lock lock(mutex);
  ASSERT_TRUE(service.Run([&](Engine* engine) {
    const std::vector<int32_t> ids = {1, 5};
    const std::lock_guard inner(mutex);
    logits = *engine->AllLogits(ids);
    done.notify_all();
  }));
  done.wait(lock, [&] { return !logits.empty(); });
  EXPECT_EQ(logits.size(), 2u * kVocab);
  listener.Wait();
}

TEST_F(ServiceTest, CountsNobodyAsWaitingWhoHasEnded) {
  std::atomic<int64_t> most = 0;
  EngineService* asked = nullptr;
  EngineServiceOptions service_options;
  service_options.pace = std::chrono::microseconds(0);
  // After the engine counts an answer as ended and before the service does.
  service_options.told = [&] {
    if (asked != nullptr) most = std::max(most.load(), asked->stats().waiting);
  };
  EngineService service(Make(), service_options);
  asked = &service;
  std::promise<void> done;
  ASSERT_TRUE(service.Submit(MakeRequest(0, 5, 4), [&](std::vector<Event>& events) {
    if (events.back().finish) done.set_value();
  }));
  done.get_future().wait();
  service.Stop();
  EXPECT_EQ(most, 0);
}

}  // namespace
}  // namespace octet
