#include "ops/context.h"

#include <chrono>

namespace octet {

void Context::ParallelFor(int64_t tasks, FunctionRef<void(int64_t task, int worker)> fn) {
  if (profile == nullptr) {
    pool.ParallelFor(tasks, fn);
    return;
  }
  using Clock = std::chrono::steady_clock;
  Clock::duration in_kernels = {};  // worker 0's, which is this thread
  pool.ParallelFor(tasks, [&](int64_t task, int worker) {
    if (worker != 0) {
      fn(task, worker);
      return;
    }
    const auto start = Clock::now();
    fn(task, worker);
    in_kernels += Clock::now() - start;
  });
  profile->AddKernelTime(std::chrono::duration<double>(in_kernels).count());
}

}  // namespace octet
