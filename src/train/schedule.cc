#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace octet {
namespace {

/// How far `step` is from `first` to `last`, in [0, 1].
double Progress(int64_t step, int64_t first, int64_t last) {
  if (last <= first) return 1;
  return std::clamp(static_cast<double>(step - first) / static_cast<double>(last - first), 0.0,
                    1.0);
}

}  // namespace

double Schedule::At(int64_t step) const {
  if (step < warmup_steps)
    return peak * static_cast<double>(step) / static_cast<double>(warmup_steps);
  double left = 1;  // of the way from the final rate to the peak
  switch (kind) {
    case ScheduleKind::kConstant:
      break;
    case ScheduleKind::kLinear:
      left = 1 - Progress(step, warmup_steps, steps);
      break;
    case ScheduleKind::kCosine:
      left = 0.5 * (1 + std::cos(std::numbers::pi * Progress(step, warmup_steps, steps)));
      break;
    case ScheduleKind::kWsd:
      left = 1 - Progress(step, std::max(warmup_steps, steps - decay_steps), steps);
      break;
  }
  return peak * (final_fraction + (1 - final_fraction) * left);
}

}  // namespace octet
