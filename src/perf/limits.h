// What this machine can do at most, measured: what every speed is a share of.
#pragma once

#include <cstdint>

#include "base/buffer.h"
#include "base/result.h"
#include "cpu/thread_pool.h"

namespace octet {

/// Reads memory with every thread, several streams each and prefetch ahead, the way the fastest
/// reader does. One object per run: it owns the region, larger than the caches.
class ReadLimit {
 public:
  static Result<ReadLimit> Create(int64_t bytes = int64_t{1} << 30);

  /// One pass; bytes per second.
  double Measure(ThreadPool& pool) const;

 private:
  Buffer region_;
};

}  // namespace octet
