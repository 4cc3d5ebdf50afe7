// What the machine is made of: for reports and for choosing sizes, never for results.
#pragma once

#include <cstdint>

namespace octet {

struct Topology {
  int physical_cores = 1;
  int processors = 1;  // hyperthreads counted
  int numa_nodes = 1;
  // Bytes of one cache of each level (an L2 usually belongs to one core); 0 when there is none or
  // the system does not say.
  int64_t l1_bytes = 0, l2_bytes = 0, l3_bytes = 0;
  int64_t memory_bytes = 0;  // of the whole machine, before any cgroup limit
};

/// Read through hwloc; takes some milliseconds. What it cannot find keeps its default.
Topology ReadTopology();

}  // namespace octet
