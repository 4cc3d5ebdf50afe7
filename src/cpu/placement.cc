#include "cpu/placement.h"

#include <hwloc.h>
#include <sched.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "cpu/thread_pool.h"

namespace octet {
namespace {

struct Destroy {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};
using OwnedTopology = std::unique_ptr<std::remove_pointer_t<hwloc_topology_t>, Destroy>;

/// Only what this process may use.
void Restrict(hwloc_topology_t topology) {
  hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
  if (allowed == nullptr) return;
  if (hwloc_get_cpubind(topology, allowed, HWLOC_CPUBIND_PROCESS) == 0)
    hwloc_topology_restrict(topology, allowed, 0);
  hwloc_bitmap_free(allowed);
}

/// Quick, unlike loading hwloc's topology: "0" or "0-3".
bool HasSeveralNodes() {
  std::ifstream file("/sys/devices/system/node/online");
  std::string nodes;
  return (file >> nodes) && nodes != "0";
}

}  // namespace

std::vector<std::vector<int>> PlaceWorkers(int workers, const char* synthetic) {
  hwloc_topology_t raw = nullptr;
  if (workers < 1 || hwloc_topology_init(&raw) != 0) return {};
  const OwnedTopology topology(raw);
  if (synthetic != nullptr && hwloc_topology_set_synthetic(raw, synthetic) != 0) return {};
  if (hwloc_topology_load(raw) != 0) return {};
  if (synthetic == nullptr) Restrict(raw);
  // Cores are numbered through, node by node.
  const int cores = hwloc_get_nbobjs_by_type(raw, HWLOC_OBJ_CORE);
  if (cores < workers) return {};
  std::vector<std::vector<int>> places;
  for (int worker = 0; worker < workers; ++worker) {
    const auto index = static_cast<unsigned>(int64_t{worker} * cores / workers);
    const hwloc_obj_t core = hwloc_get_obj_by_type(raw, HWLOC_OBJ_CORE, index);
    std::vector<int> processors;
    for (int cpu = hwloc_bitmap_first(core->cpuset); cpu >= 0;
         cpu = hwloc_bitmap_next(core->cpuset, cpu)) {
      processors.push_back(cpu);
    }
    places.push_back(std::move(processors));
  }
  return places;
}

bool ShouldPin(int threads) {
  const char* wish = std::getenv("OCTET_PIN");
  if (wish != nullptr && std::string_view(wish) == "1") return true;
  if (wish != nullptr && std::string_view(wish) == "0") return false;
  return HasSeveralNodes() && threads == UsableCores();
}

void PinThisThread(const std::vector<int>& processors) {
  if (processors.empty()) return;
  const int most = *std::max_element(processors.begin(), processors.end());
  cpu_set_t* set = CPU_ALLOC(most + 1);
  if (set == nullptr) return;
  const size_t bytes = CPU_ALLOC_SIZE(most + 1);
  CPU_ZERO_S(bytes, set);
  for (const int cpu : processors) CPU_SET_S(cpu, bytes, set);
  sched_setaffinity(0, bytes, set);
  CPU_FREE(set);
}

}  // namespace octet
