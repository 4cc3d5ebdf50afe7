// How many cores this process may use: affinity mask, physical cores, cgroup quotas.
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cpu/thread_pool.h"

namespace octet {
namespace {

/// The processors of the affinity mask; empty when the system does not say.
std::vector<int> AllowedProcessors() {
  for (int n = CPU_SETSIZE; n <= 1 << 17; n *= 2) {  // larger masks on very large machines
    cpu_set_t* set = CPU_ALLOC(n);
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(n);
    std::vector<int> allowed;
    const bool ok = sched_getaffinity(0, bytes, set) == 0;
    for (int i = 0; ok && i < n; ++i) {
      if (CPU_ISSET_S(i, bytes, set)) allowed.push_back(i);
    }
    CPU_FREE(set);
    if (ok) return allowed;
  }
  return {};
}

long ReadNumber(const std::string& path, long fallback) {
  std::ifstream file(path);
  long value = fallback;
  return file >> value ? value : fallback;
}

/// Physical cores behind the processors: hyperthreads of one core count once.
int PhysicalCores(const std::vector<int>& processors) {
  std::set<std::pair<long, long>> cores;
  for (const int cpu : processors) {
    const std::string topology = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    const long package = ReadNumber(topology + "physical_package_id", -1);
    const long core = ReadNumber(topology + "core_id", -1);
    cores.insert(core < 0 ? std::pair<long, long>{-2, cpu} : std::pair<long, long>{package, core});
  }
  return static_cast<int>(cores.size());
}

/// "max 100000" or "150000 100000" of cgroup v2's cpu.max: cores, or infinity.
double QuotaV2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return INFINITY;
  const double microseconds = std::strtod(quota.c_str(), nullptr);
  return microseconds > 0 ? microseconds / period : INFINITY;
}

double QuotaV1(const std::string& folder) {
  const long quota = ReadNumber(folder + "/cpu.cfs_quota_us", -1);
  const long period = ReadNumber(folder + "/cpu.cfs_period_us", -1);
  return quota > 0 && period > 0 ? static_cast<double>(quota) / static_cast<double>(period)
                                 : INFINITY;
}

/// The smallest quota from the group at `path` up to the mount's root: a parent's limit binds too,
/// and inside a container the path named by /proc may only exist as the root.
template <class Quota>
double SmallestQuota(const std::string& mount, std::string path, Quota quota) {
  double cores = quota(mount);
  while (!path.empty() && path != "/") {
    cores = std::min(cores, quota(mount + path));
    path.resize(path.find_last_of('/'));
  }
  return cores;
}

double CgroupQuota() {
  double cores = INFINITY;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    // "hierarchy:controllers:path"; no controllers means v2.
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos || second + 1 >= line.size() || line[second + 1] != '/')
      continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      cores = std::min(cores, SmallestQuota("/sys/fs/cgroup", path, QuotaV2));
      cores = std::min(cores, SmallestQuota("/sys/fs/cgroup/unified", path, QuotaV2));
      continue;
    }
    std::istringstream names(controllers);
    for (std::string name; std::getline(names, name, ',');) {
      if (name != "cpu") continue;
      cores = std::min(cores, SmallestQuota("/sys/fs/cgroup/cpu", path, QuotaV1));
      cores = std::min(cores, SmallestQuota("/sys/fs/cgroup/" + controllers, path, QuotaV1));
    }
  }
  return cores;
}

}  // namespace

int UsableCores() {
  const std::vector<int> allowed = AllowedProcessors();
  const int cores = allowed.empty() ? static_cast<int>(std::thread::hardware_concurrency())
                                    : PhysicalCores(allowed);
  const double quota = std::min(std::ceil(CgroupQuota()), 1e6);
  return std::max(1, std::min(cores, static_cast<int>(quota)));
}

}  // namespace octet
