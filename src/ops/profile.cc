#include "ops/profile.h"

namespace octet {

const char* StepPartName(StepPart part) {
  constexpr const char* kNames[kStepPartCount] = {
      "embedding",     "norm",         "q, k, v", "rope",        "append k, v", "attention",
      "attention out", "router",       "routing", "gather rows", "gate and up", "silu times up",
      "down",          "combine rows", "add",     "head",        "other"};
  return kNames[static_cast<size_t>(part)];
}

double Profile::seconds() const {
  double sum = 0;
  for (const Sums& part : sums_) sum += part.seconds;
  return sum;
}

double Profile::kernel_seconds() const {
  double sum = 0;
  for (const Sums& part : sums_) sum += part.kernel_s;
  return sum;
}

void Profile::Start() {
  part_ = StepPart::kOther;
  since_ = std::chrono::steady_clock::now();
}

StepPart Profile::Enter(StepPart part) {
  const auto now = std::chrono::steady_clock::now();
  sums_[static_cast<size_t>(part_)].seconds += std::chrono::duration<double>(now - since_).count();
  since_ = now;
  const StepPart outer = part_;
  part_ = part;
  return outer;
}

}  // namespace octet
