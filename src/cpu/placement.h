// Which processors the workers of a pool keep to.
#pragma once

#include <vector>

namespace octet {

/// For each of `workers` the processors (as the system numbers them) of a physical core of its own,
/// evenly over the cores this process may use and so over the NUMA nodes, neighbours together.
/// Empty where there are fewer cores than workers or the system does not say. `synthetic`: of a
/// machine in hwloc's notation ("node:2 core:4 pu:2") instead of this one.
std::vector<std::vector<int>> PlaceWorkers(int workers, const char* synthetic = nullptr);

/// Whether a pool of that many threads pins them: where memory has several NUMA nodes and every
/// core is taken, so that a worker stays near what it touched first. Elsewhere not: a process does
/// not know its neighbours, and two programs pinned to the same cores are worse than any migration.
/// OCTET_PIN=1 and OCTET_PIN=0 in the environment decide otherwise.
bool ShouldPin(int threads);

/// Keeps the calling thread to these processors; does nothing where the system refuses.
void PinThisThread(const std::vector<int>& processors);

}  // namespace octet
