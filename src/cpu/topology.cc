#include "cpu/topology.h"

#include <hwloc.h>

#include <algorithm>
#include <memory>
#include <type_traits>

namespace octet {
namespace {

struct Destroy {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};
using OwnedTopology = std::unique_ptr<std::remove_pointer_t<hwloc_topology_t>, Destroy>;

int64_t CacheBytes(hwloc_topology_t topology, hwloc_obj_type_t level) {
  const hwloc_obj_t cache = hwloc_get_obj_by_type(topology, level, 0);
  return cache == nullptr ? 0 : static_cast<int64_t>(cache->attr->cache.size);
}

}  // namespace

Topology ReadTopology() {
  Topology found;
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return found;
  const OwnedTopology topology(raw);
  if (hwloc_topology_load(raw) != 0) return found;
  const auto count = [&](hwloc_obj_type_t type) {
    return std::max(hwloc_get_nbobjs_by_type(raw, type), 1);
  };
  found.physical_cores = count(HWLOC_OBJ_CORE);
  found.processors = count(HWLOC_OBJ_PU);
  found.numa_nodes = count(HWLOC_OBJ_NUMANODE);
  found.l1_bytes = CacheBytes(raw, HWLOC_OBJ_L1CACHE);
  found.l2_bytes = CacheBytes(raw, HWLOC_OBJ_L2CACHE);
  found.l3_bytes = CacheBytes(raw, HWLOC_OBJ_L3CACHE);
  found.memory_bytes = static_cast<int64_t>(hwloc_get_root_obj(raw)->total_memory);
  return found;
}

}  // namespace octet
