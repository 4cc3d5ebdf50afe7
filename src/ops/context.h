// What an op needs beside its operands. Passed in, never global.
#pragma once

#include "cpu/thread_pool.h"
#include "kernels/registry.h"
#include "tensor/arena.h"

namespace octet {

struct Context {
  ThreadPool& pool;
  const KernelTable& kernels;
  Arena& scratch;
  Arithmetic arithmetic = Arithmetic::kFast;
};

}  // namespace octet
