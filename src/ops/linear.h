// Products with weight matrices, threaded over tiles of output rows.
#pragma once

#include <cstdint>
#include <span>

#include "ops/context.h"
#include "tensor/view.h"
#include "tensor/weight_matrix.h"

namespace octet {

/// y[T, rows] = x[T, cols] · Wᵀ. Overwrites y. T may be 0.
struct LinearTask {
  const WeightMatrix* w;
  View<const float, 2> x;
  View<float, 2> y;
  std::span<const int32_t> adapter = {};  // [T] of w->choices, from 1; 0: none. Empty: all 0
};

/// All tasks in one fork-join, tiles of all of them balanced over the threads: q, k and v together;
/// w1 and w3 of every expert together. Each weight is read once for all its rows of x.
/// Every y[t, r] has the same bits whatever T, the other tasks and the number of threads.
void Linear(std::span<const LinearTask> tasks, Context& context);

/// The same, as `part` of the step's profile.
inline void TimedLinear(StepPart part, std::span<const LinearTask> tasks, Context& context) {
  const PartScope scope(context.profile, part);
  Linear(tasks, context);
}

inline void Linear(const WeightMatrix& w, View<const float, 2> x, View<float, 2> y,
                   Context& context) {
  const LinearTask task{&w, x, y};
  Linear({&task, 1}, context);
}

}  // namespace octet
