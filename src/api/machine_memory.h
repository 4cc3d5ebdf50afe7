// How much memory this process may hope for.
#pragma once

#include <cstdint>

namespace octet {

/// Bytes: the machine's memory, or the limit of the process's control group where that is lower.
uint64_t MachineMemory();

}  // namespace octet
