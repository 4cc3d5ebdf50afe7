// An engine that many threads ask: one thread of its own computes, the others hand in and are told.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "engine/engine.h"

namespace octet {

struct EngineServiceOptions {
  /// Requests that may wait beside the max_sequences that run.
  int64_t max_waiting = 128;
  /// Events of steps that follow each other faster are told together, this late at most, twice as
  /// late where many listen: waking those who listen costs more than the steps of a small model.
  /// The beginning and the end of an answer are told at once.
  std::chrono::microseconds pace{8000};
  /// Called on the service's thread when all sinks that have something to hear were called.
  std::function<void()> told = {};
};

/// Why a request was not taken.
struct Refusal {
  enum class Kind {
    kInvalid,    // the request cannot be honoured
    kQueueFull,  // later it can
    kDraining,   // no more requests are taken
    kFailed,     // the engine is out of order
  };
  Kind kind = Kind::kInvalid;
  std::string message;
};

/// Hears the events of one request, in order, some at a time, on the service's thread, the last one
/// with `finish` set; may take them; must be quick and must not call the service.
using EventSink = std::function<void(std::vector<Event>& events)>;

/// All members may be called from any thread, but not from a sink.
class EngineService {
 public:
  EngineService(std::unique_ptr<Engine> engine, const EngineServiceOptions& options);
  ~EngineService();
  EngineService(const EngineService&) = delete;
  EngineService& operator=(const EngineService&) = delete;

  /// Checks and queues a request; its id, after which `sink` is called until the last event.
  tl::expected<uint64_t, Refusal> Submit(Request request, EventSink sink);
  /// Ends a request before the next step; its sink hears a last event. Nothing happens to one that
  /// is over.
  void Cancel(uint64_t request);
  /// Runs `task` on the service's thread, between two steps; with null if the service ends before.
  /// Takes a request's place meanwhile.
  using Task = std::function<void(Engine* engine)>;
  tl::expected<void, Refusal> Run(Task task);

  /// Takes no more requests; those that are in are answered.
  void Drain();
  /// Waits until nothing runs or waits any more, at most so long; whether that is so.
  bool WaitUntilIdle(std::chrono::milliseconds at_most);

  /// Cancels what runs: every sink has heard its last event when this returns. Later requests are
  /// refused.
  void Stop();

  /// Engine::LoadPrefixes between two steps; kCancelled when the service ends before.
  Result<int64_t> LoadPrefixes(const std::filesystem::path& path);
  /// Engine::SavePrefixes. Before Stop pages are copied between steps, a few MiB at a time, and
  /// written by the caller's thread, so that answers hardly wait; kCancelled when the service ends
  /// meanwhile.
  Result<int64_t> SavePrefixes(const std::filesystem::path& path);

  EngineStats stats() const;
  /// Engine::ExpertLoad.
  std::vector<int64_t> ExpertLoad() const { return engine_->ExpertLoad(); }
  const ModelConfig& config() const { return engine_->config(); }
  bool draining() const;
  /// What broke the engine; empty as long as it works.
  std::string failure() const;
  const EngineOptions& options() const { return engine_->options(); }

 private:
  struct Submission {
    std::unique_ptr<Sequence> sequence;
    EventSink sink;
  };
  struct Inbox {
    std::vector<Submission> submissions;
    std::vector<uint64_t> cancelled;
    std::vector<Task> tasks;
    std::vector<Task> chores;  // that take no request's place
    bool empty() const {
      return submissions.empty() && cancelled.empty() && tasks.empty() && chores.empty();
    }
  };
  tl::expected<void, Refusal> CheckOpen(bool needs_place) const;
  Status Between(const std::function<void(Engine&)>& chore);
  void Loop();
  void Accept(Inbox& inbox);
  void Step();
  void Hold(Event& event);
  void Tell(uint64_t request);
  void TellHeld();
  void TellUrgent();
  std::chrono::microseconds Pace() const;
  void Fail(const std::string& why, Inbox& taken);

  const std::unique_ptr<Engine> engine_;  // const members from any thread, the rest from thread_
  const int64_t most_open_;
  const std::chrono::microseconds pace_;
  const std::function<void()> after_telling_;

  // Of thread_: who listens, and what they have not heard yet.
  struct Listener {
    EventSink sink;
    std::vector<Event> held = {};
    size_t usual = 1;  // how many are held until they are told
    bool begun = false;
    bool urgent() const { return !held.empty() && (!begun || held.back().finish); }
  };
  std::unordered_map<uint64_t, Listener> listeners_;
  std::vector<uint64_t> held_;  // requests with such events
  std::chrono::steady_clock::time_point told_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_, idle_;
  Inbox inbox_;
  EngineStats stats_;
  int64_t open_ = 0;    // requests taken and not finished
  int64_t untold_ = 0;  // of them, those that the engine has finished
  bool draining_ = false, stopping_ = false;
  std::string failure_;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace octet
