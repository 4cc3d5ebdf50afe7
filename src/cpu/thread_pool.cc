#include "cpu/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/check.h"
#include "cpu/placement.h"

namespace octet {
namespace {

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

/// Spins until `ready`, up to `spin`; then yields a few times. False when it gave up.
template <class Ready>
bool SpinUntil(Ready ready, std::chrono::nanoseconds spin) {
  constexpr int kPausesPerClock = 32, kYields = 8;
  const auto deadline = std::chrono::steady_clock::now() + spin;
  do {
    for (int i = 0; i < kPausesPerClock; ++i) {
      if (ready()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  for (int i = 0; i < kYields; ++i) {
    std::this_thread::yield();
    if (ready()) return true;
  }
  return ready();
}

// `state` of a pool: job number, an open bit, and the count of workers inside the job. A worker
// enters by adding one while the job is open; the caller closes it when the tasks have run out and
// waits only for those inside. A worker that the system did not schedule in time is never waited
// for, so more threads than cores cost little.
constexpr uint64_t kInsideMask = 0xffff, kOpen = 0x10000, kNextJob = 0x20000;
constexpr uint64_t JobOf(uint64_t state) { return state / kNextJob; }

constexpr int kMaxThreads = 1024;

}  // namespace

struct ThreadPool::Impl {
  explicit Impl(int n) {
    const int threads = n;
    // Longer than the serial gaps within a step (norms, routing), shorter than a pause a user
    // notices; almost nothing when the threads outnumber the cores and would steal from each other.
    spin = threads <= UsableCores() ? std::chrono::microseconds(200) : std::chrono::microseconds(2);
    // The caller is worker 0 and not ours to pin; the system leaves it the core that is free.
    std::vector<std::vector<int>> places;
    if (ShouldPin(n)) places = PlaceWorkers(n);
    places.resize(static_cast<size_t>(n));
    workers.reserve(static_cast<size_t>(n));
    try {
      for (int worker = 1; worker < n; ++worker) {
        workers.emplace_back([this, worker, place = places[static_cast<size_t>(worker)]] {
          PinThisThread(place);
          WorkerLoop(worker);
        });
      }
    } catch (const std::system_error&) {
      // A limit of processes: those that began do the work.
    }
  }

  ~Impl() {
    stop.store(true);
    state.fetch_add(kNextJob);
    Wake(sleeping_workers, worker_cv);
    for (std::thread& worker : workers) worker.join();
  }

  /// Notifies if anyone sleeps. The sleeper raises its count before it looks at `state` once more,
  /// and we changed `state` before we look at the count (both seq_cst), so none is missed.
  void Wake(const std::atomic<int>& sleeping, std::condition_variable& cv) {
    if (sleeping.load() == 0) return;
    { const std::lock_guard lock(mutex); }
    cv.notify_all();
  }

  template <class Ready>
  void WaitUntil(Ready ready, std::atomic<int>& sleeping, std::condition_variable& cv) {
    if (SpinUntil(ready, spin)) return;
    std::unique_lock lock(mutex);
    sleeping.fetch_add(1);
    cv.wait(lock, ready);
    sleeping.fetch_sub(1);
  }

  void RunTasks(int worker) {
    const int64_t n = tasks;
    for (int64_t task; (task = next_task.fetch_add(1, std::memory_order_relaxed)) < n;) {
      (*fn)(task, worker);
    }
  }

  void WorkerLoop(int worker) {
    uint64_t seen = 0;  // the job this worker was last in, or found closed
    while (true) {
      WaitUntil([&] { return JobOf(state.load()) != seen; }, sleeping_workers, worker_cv);
      uint64_t now = state.load();
      while ((now & kOpen) != 0 && !state.compare_exchange_weak(now, now + 1)) {
      }
      seen = JobOf(now);
      if (stop.load()) return;
      if ((now & kOpen) == 0) continue;
      RunTasks(worker);
      const uint64_t left = state.fetch_sub(1) - 1;
      if ((left & (kInsideMask | kOpen)) == 0) Wake(sleeping_callers, caller_cv);
    }
  }

  void Run(int64_t n, FunctionRef<void(int64_t, int)>* function) {
    tasks = n;
    fn = function;
    next_task.store(0, std::memory_order_relaxed);
    state.fetch_add(kNextJob + kOpen);
    Wake(sleeping_workers, worker_cv);
    RunTasks(0);
    state.fetch_sub(kOpen);
    WaitUntil([&] { return (state.load() & kInsideMask) == 0; }, sleeping_callers, caller_cv);
  }

  std::chrono::nanoseconds spin{};
  // Written by the caller while no worker is inside a job.
  int64_t tasks = 0;
  FunctionRef<void(int64_t, int)>* fn = nullptr;
  alignas(64) std::atomic<uint64_t> state{0};
  alignas(64) std::atomic<int64_t> next_task{0};
  alignas(64) std::atomic<int> sleeping_workers{0};
  std::atomic<int> sleeping_callers{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;  // only orders sleeping and waking; guards no data
  std::condition_variable worker_cv, caller_cv;
  std::vector<std::thread> workers;
};

ThreadPool::ThreadPool(int threads)
    : impl_(std::make_unique<Impl>(std::min(threads > 0 ? threads : UsableCores(), kMaxThreads))) {}

ThreadPool::~ThreadPool() = default;

int ThreadPool::threads() const { return static_cast<int>(impl_->workers.size()) + 1; }

void ThreadPool::ParallelFor(int64_t tasks, FunctionRef<void(int64_t task, int worker)> fn) {
  if (impl_->workers.empty() || tasks <= 1) {
    for (int64_t task = 0; task < tasks; ++task) fn(task, 0);
    return;
  }
  impl_->Run(tasks, &fn);
}

}  // namespace octet
