// What an op needs beside its operands. Passed in, never global.
#pragma once

#include "cpu/thread_pool.h"
#include "kernels/registry.h"
#include "ops/profile.h"
#include "tensor/arena.h"

namespace octet {

struct Context {
  ThreadPool& pool;
  const KernelTable& kernels;
  Arena& scratch;
  Arithmetic arithmetic = Arithmetic::kFast;
  Profile* profile = nullptr;  // of the thread that steps; nullptr: none is taken

  /// The pool's, with the time that the caller spends in fn noted as kernels' where there is a
  /// profile.
  void ParallelFor(int64_t tasks, FunctionRef<void(int64_t task, int worker)> fn);
};

}  // namespace octet
