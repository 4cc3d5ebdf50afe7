// Splitting row-wise work over threads by shape.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/function_ref.h"
#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

/// Calls fn(row) for every row, `width` floats of work each, in parallel when there is enough of it
/// to pay for the fork (~1–2 µs): tasks of about 16 Ki floats.
inline void ForEachRow(int64_t rows, int64_t width, Context& context,
                       FunctionRef<void(int64_t)> fn) {
  constexpr int64_t kFloatsPerTask = 16384;
  const int64_t rows_per_task = std::max<int64_t>(1, kFloatsPerTask / std::max<int64_t>(1, width));
  const int64_t tasks = (rows + rows_per_task - 1) / rows_per_task;
  auto run = [&](int64_t task, int) {
    const int64_t end = std::min(rows, (task + 1) * rows_per_task);
    for (int64_t row = task * rows_per_task; row < end; ++row) fn(row);
  };
  context.ParallelFor(tasks, run);
}

/// out[0 … n) = scale · row, or out + scale · row.
inline void ScaleRow(const float* row, float scale, int64_t n, bool adds, float* out,
                     const Context& context) {
  context.kernels.sum->sum({out, adds, &row, &scale, 1, n});
}

/// out[i] = x[index[i]].
inline void GatherRows(View<const float, 2> x, std::span<const int32_t> index, View<float, 2> out) {
  for (size_t i = 0; i < index.size(); ++i)
    std::copy_n(x[index[i]].data, x.shape[1], out[static_cast<int64_t>(i)].data);
}

}  // namespace octet
