#include "cpu/topology.h"

#include <gtest/gtest.h>

#include "cpu/thread_pool.h"

namespace octet {
namespace {

TEST(Topology, DescribesAMachineThatHoldsThisProcess) {
  const Topology machine = ReadTopology();
  EXPECT_GE(machine.physical_cores, UsableCores());
  EXPECT_GE(machine.processors, machine.physical_cores);
  EXPECT_GE(machine.numa_nodes, 1);
  EXPECT_GT(machine.memory_bytes, int64_t{64} << 20);
  if (machine.l1_bytes > 0 && machine.l2_bytes > 0) {
    EXPECT_LT(machine.l1_bytes, machine.l2_bytes);
  }
}

}  // namespace
}  // namespace octet
