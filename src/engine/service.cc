#include "engine/service.h"

#include <algorithm>
#include <exception>
#include <future>
#include <utility>

namespace octet {

EngineService::EngineService(std::unique_ptr<Engine> engine, const EngineServiceOptions& options)
    : engine_(std::move(engine)),
      most_open_(engine_->options().max_sequences + std::max<int64_t>(0, options.max_waiting)),
      pace_(options.pace),
      after_telling_(options.told),
      stats_(engine_->stats()),
      thread_([this] { Loop(); }) {}

EngineService::~EngineService() { Stop(); }

void EngineService::Stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    draining_ = stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

tl::expected<void, Refusal> EngineService::CheckOpen(bool needs_place) const {
  using Kind = Refusal::Kind;
  if (draining_) return tl::unexpected(Refusal{Kind::kDraining, "shutting down; try elsewhere"});
  if (!failure_.empty()) return tl::unexpected(Refusal{Kind::kFailed, failure_});
  if (needs_place && open_ >= most_open_) {
    return tl::unexpected(
        Refusal{Kind::kQueueFull,
                fmt::format("{} requests are being answered or wait, no more are taken; try later",
                            open_)});
  }
  return {};
}

tl::expected<uint64_t, Refusal> EngineService::Submit(Request request, EventSink sink) {
  {
    // Before the work of preparing it; counted at once, so that the bound holds.
    const std::lock_guard lock(mutex_);
    if (auto open = CheckOpen(true); !open) return tl::unexpected(open.error());
    ++open_;
  }
  auto sequence = engine_->Prepare(std::move(request));
  {
    const std::lock_guard lock(mutex_);
    if (!sequence || stopping_ || !failure_.empty()) --open_;
    if (!sequence) {
      return tl::unexpected(Refusal{Refusal::Kind::kInvalid, sequence.error().message});
    }
    if (stopping_ || !failure_.empty()) return tl::unexpected(CheckOpen(false).error());
    const uint64_t id = (*sequence)->id;
    inbox_.submissions.push_back({*std::move(sequence), std::move(sink)});
    wake_.notify_one();
    return id;
  }
}

void EngineService::Cancel(uint64_t request) {
  const std::lock_guard lock(mutex_);
  inbox_.cancelled.push_back(request);
  wake_.notify_one();
}

tl::expected<void, Refusal> EngineService::Run(Task task) {
  const std::lock_guard lock(mutex_);
  if (auto open = CheckOpen(true); !open) return open;
  ++open_;
  inbox_.tasks.push_back(std::move(task));
  wake_.notify_one();
  return {};
}

void EngineService::Drain() {
  const std::lock_guard lock(mutex_);
  draining_ = true;
}

bool EngineService::WaitUntilIdle(std::chrono::milliseconds at_most) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, at_most, [&] { return open_ == 0; });
}

Result<int64_t> EngineService::LoadPrefixes(const std::filesystem::path& path) {
  std::promise<Result<int64_t>> loaded;
  const auto taken = Run([&](Engine* engine) {
    if (engine != nullptr) return loaded.set_value(engine->LoadPrefixes(path));
    loaded.set_value(Err(ErrorCode::kCancelled, "the engine stopped"));
  });
  if (!taken) return Err(ErrorCode::kCancelled, "{}", taken.error().message);
  return loaded.get_future().get();
}

/// Runs `chore` between two steps, and waits for it.
Status EngineService::Between(const std::function<void(Engine&)>& chore) {
  // Shared: the service's thread may still be in it when the caller goes on.
  const auto ran = std::make_shared<std::promise<bool>>();
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || !failure_.empty())
      return Err(ErrorCode::kCancelled, "the engine stopped {}", failure_);
    inbox_.chores.push_back([ran, &chore](Engine* engine) {
      try {
        if (engine != nullptr) chore(*engine);
        ran->set_value(engine != nullptr);
      } catch (...) {  // the caller's, not the engine's
        ran->set_exception(std::current_exception());
      }
    });
    wake_.notify_one();
  }
  if (ran->get_future().get()) return {};
  return Err(ErrorCode::kCancelled, "the engine stopped");
}

Result<int64_t> EngineService::SavePrefixes(const std::filesystem::path& path) {
  if (!thread_.joinable() || !engine_->options().keep_prefixes) return engine_->SavePrefixes(path);
  constexpr size_t kCopyBytes = 4 << 20;  // a millisecond or two
  std::vector<uint64_t> hashes;
  PrefixFileHeader header;
  OCTET_TRY(Between([&](Engine& engine) {
    header = engine.PrefixHeader();
    hashes = engine.PrefixHashes();
  }));
  OCTET_ASSIGN(PrefixFileWriter file, PrefixFileWriter::Create(path, header));
  const size_t at_once = std::max<size_t>(1, kCopyBytes / header.page_bytes);
  for (std::span<const uint64_t> left = hashes; !left.empty();) {
    const auto some = left.first(std::min(at_once, left.size()));
    left = left.subspan(some.size());
    std::vector<PrefixRecord> records;
    OCTET_TRY(Between([&](Engine& engine) { records = engine.CopyPrefixes(some); }));
    for (const PrefixRecord& record : records) OCTET_TRY(file.Add(record));
  }
  return file.Commit();
}

EngineStats EngineService::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.waiting = open_ - untold_ - stats.running;
  return stats;
}

bool EngineService::draining() const {
  const std::lock_guard lock(mutex_);
  return draining_;
}

std::string EngineService::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void EngineService::Loop() {
  while (true) {
    Inbox inbox;
    bool stop = false, broken = false;
    {
      std::unique_lock lock(mutex_);
      broken = !failure_.empty();
      wake_.wait(lock,
                 [&] { return stopping_ || !inbox_.empty() || (!broken && engine_->busy()); });
      std::swap(inbox, inbox_);
      stop = stopping_;
    }
    if (broken && stop) return;
    if (broken) continue;
    try {
      if (stop) return Fail("stopped", inbox);
      Accept(inbox);
      Step();
    } catch (const std::exception& error) {
      Fail(fmt::format("the engine stopped: {}", error.what()), inbox);
    }
  }
}

void EngineService::Accept(Inbox& inbox) {
  for (Submission& submission : inbox.submissions) {
    const uint64_t id = submission.sequence->id;
    listeners_.emplace(id, Listener{std::move(submission.sink)});
    engine_->Submit(std::move(submission.sequence));
  }
  // Those that are over by now are not found, which is as well.
  for (const uint64_t id : inbox.cancelled) static_cast<void>(engine_->Cancel(id).has_value());
  if (!inbox.tasks.empty()) TellHeld();  // they may take long
  for (Task& task : inbox.tasks) std::exchange(task, nullptr)(engine_.get());
  for (Task& chore : inbox.chores) std::exchange(chore, nullptr)(engine_.get());
  const std::lock_guard lock(mutex_);
  open_ -= static_cast<int64_t>(inbox.tasks.size());
  inbox.tasks.clear();
}

void EngineService::Step() {
  int64_t finished = 0;
  for (Event& event : engine_->Step()) {
    if (event.finish) ++finished;
    Hold(event);
  }
  {
    // Before it is told, so that who has an answer finds it counted.
    const std::lock_guard lock(mutex_);
    stats_ = engine_->stats();
    untold_ = finished;
  }
  if (!engine_->busy() || std::chrono::steady_clock::now() - told_ >= Pace()) {
    TellHeld();
  } else {
    TellUrgent();
  }
  const std::lock_guard lock(mutex_);
  open_ -= finished;
  untold_ = 0;
  if (open_ == 0) idle_.notify_all();
}

void EngineService::Hold(Event& event) {
  const auto found = listeners_.find(event.request);
  if (found == listeners_.end()) return;
  Listener& listener = found->second;
  if (listener.held.empty()) {
    held_.push_back(event.request);
    listener.held.reserve(listener.usual);
  }
  listener.held.push_back(std::move(event));
}

void EngineService::Tell(uint64_t request) {
  const auto found = listeners_.find(request);
  Listener& listener = found->second;
  const bool last = listener.held.back().finish.has_value();
  listener.usual = listener.held.size();
  listener.begun = true;
  listener.sink(listener.held);
  listener.held.clear();
  if (last) listeners_.erase(found);
}

/// A piece of text costs the server and its client some 30 µs, in which a thread of the engine's
/// stands still: a thousand in a second are enough for all, and thirty for anybody.
std::chrono::microseconds EngineService::Pace() const {
  constexpr std::chrono::microseconds kEach{1000};
  return std::min(4 * pace_, std::max(pace_, kEach * static_cast<int64_t>(listeners_.size())));
}

void EngineService::TellHeld() {
  told_ = std::chrono::steady_clock::now();
  for (const uint64_t request : held_) Tell(request);
  if (!held_.empty() && after_telling_) after_telling_();
  held_.clear();
}

/// An answer's end does not wait for the pace, as its place is empty until the client asks again;
/// nor does its beginning, for which somebody waits.
void EngineService::TellUrgent() {
  const size_t told = std::erase_if(held_, [&](uint64_t request) {
    if (!listeners_.at(request).urgent()) return false;
    Tell(request);
    return true;
  });
  if (told > 0 && after_telling_) after_telling_();
}

/// Ends everything: no thread may wait for an answer that never comes.
void EngineService::Fail(const std::string& why, Inbox& taken) {
  Inbox inbox;
  {
    const std::lock_guard lock(mutex_);
    failure_ = why;
    std::swap(inbox, inbox_);
  }
  for (Inbox* each : {&taken, &inbox}) {
    for (Submission& s : each->submissions) {
      if (s.sequence) listeners_.emplace(s.sequence->id, Listener{std::move(s.sink)});
    }
    for (const auto* tasks : {&each->tasks, &each->chores}) {
      for (const Task& task : *tasks) {
        if (task) task(nullptr);
      }
    }
  }
  TellHeld();
  for (const auto& [id, listener] : listeners_) {
    std::vector<Event> events(1);
    events.front().request = id;
    events.front().finish = FinishReason::kCancelled;
    listener.sink(events);
  }
  listeners_.clear();
  if (after_telling_) after_telling_();
  const std::lock_guard lock(mutex_);
  open_ = untold_ = 0;
  idle_.notify_all();
}

}  // namespace octet
