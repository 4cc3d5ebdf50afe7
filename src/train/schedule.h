// Learning rates over a run.
#pragma once

#include <cstdint>

namespace octet {

enum class ScheduleKind : uint8_t {
  kConstant,
  kLinear,  // down to the end
  kCosine,  // half a wave down to the end (Loshchilov & Hutter 2017)
  kWsd,     // constant, then linear down over the last `decay_steps` (Hu et al. 2024)
};

struct Schedule {
  ScheduleKind kind = ScheduleKind::kCosine;
  double peak = 3e-4;
  double final_fraction = 0;  // of the peak, at the end
  int64_t steps = 0;          // updates in the run
  int64_t warmup_steps = 0;   // linear from 0: update 0 has rate 0
  int64_t decay_steps = 0;    // kWsd

  /// The rate of update `step`, counted from 0.
  double At(int64_t step) const;
};

}  // namespace octet
