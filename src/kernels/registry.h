// Every kernel in the program, and the choice among them for one run.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/kernel.h"

namespace octet {

/// All descriptors that were compiled in, the reference among them. Tests, fuzzers and benches walk
/// it.
const std::vector<const KernelDescriptor*>& AllKernels();

/// The fastest kernels that `isa` allows: what ops call. A missing fast kernel is never an error;
/// the table falls back to a slower instruction set and at last to the reference.
struct KernelTable {
  uint32_t isa = 0;
  std::array<std::array<const KernelDescriptor*, kArithmeticCount>, kFormatCount> matmul = {};
  const KernelDescriptor* attend_block = nullptr;
};
KernelTable SelectKernels(uint32_t isa);

}  // namespace octet
