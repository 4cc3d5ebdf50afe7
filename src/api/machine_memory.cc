#include "api/machine_memory.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>

namespace octet {
namespace {

// The number a control file holds; "max" and absent files are no limit.
uint64_t Limit(const std::string& file) {
  uint64_t value = 0;
  std::ifstream in(file);
  return in >> value ? value : std::numeric_limits<uint64_t>::max();
}

}  // namespace

uint64_t MachineMemory() {
  const auto pages = static_cast<uint64_t>(std::max(0L, sysconf(_SC_PHYS_PAGES)));
  uint64_t bytes = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  bytes = std::min(bytes, Limit("/sys/fs/cgroup/memory.max"));  // v2, or a container
  bytes = std::min(bytes, Limit("/sys/fs/cgroup/memory/memory.limit_in_bytes"));  // v1
  // Below the root of version 2: "0::/user.slice/…".
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::/")) continue;
    for (std::string path = line.substr(3); path.size() > 1; path.resize(path.rfind('/'))) {
      bytes = std::min(bytes, Limit("/sys/fs/cgroup" + path + "/memory.max"));
    }
  }
  return bytes;
}

}  // namespace octet
