// A fork-join pool: the only place threads are made for compute.
#pragma once

#include <cstdint>
#include <memory>

#include "base/function_ref.h"

namespace octet {

/// Owns `threads - 1` workers; the caller is worker 0. Workers keep to a core each where
/// cpu/placement.h says so, so that on machines of several NUMA nodes what they touch first stays
/// near them. Between jobs they spin for a moment, then sleep. Work must be split by shape, never
/// by the number of threads, so that results do not depend on it.
class ThreadPool {
 public:
  /// `threads` ≤ 0: one a physical core this process may use (affinity and cgroup quota respected).
  /// At most 1024, and fewer when the system gives no more; threads() says how many there are.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  /// Calls fn(task, worker) for every task in [0, tasks), each once, in any order, and returns when
  /// all are done. worker < threads() indexes per-worker scratch. Not reentrant.
  void ParallelFor(int64_t tasks, FunctionRef<void(int64_t task, int worker)> fn);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Cores this process may use: affinity mask, and cgroup CPU quota rounded up.
int UsableCores();

}  // namespace octet
