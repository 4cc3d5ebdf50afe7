// Where the time of forward steps goes.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>

namespace octet {

/// The parts of a step that are told apart. Matrices count with the conversion of what they read.
enum class StepPart : uint8_t {
  kEmbed,
  kNorm,  // with the residual added before it
  kQkv,
  kRope,
  kAppendKv,
  kAttention,
  kAttentionOut,
  kRouter,
  kRoute,
  kGather,
  kUpGate,
  kSwiGlu,
  kDown,
  kCombine,
  kAdd,
  kHead,
  kOther,  // between the others: angles, plans, bookkeeping
};
constexpr int kStepPartCount = 17;
const char* StepPartName(StepPart part);

/// Sums over the steps run with it. Times are those of the thread that steps; it takes part in all
/// work, so what it does not spend in kernels (waiting for the others, splitting work, bookkeeping)
/// is what a step takes beside them. Costs two looks at the clock a part and fork.
class Profile {
 public:
  struct Sums {
    double seconds = 0;
    double kernel_s = 0;  // of these, inside kernels
  };
  const Sums& of(StepPart part) const { return sums_[static_cast<size_t>(part)]; }
  double seconds() const;
  double kernel_seconds() const;

  /// Start and Stop enclose a step. In between, from Enter on time belongs to `part`; returns the
  /// part it belonged to.
  StepPart Enter(StepPart part);
  void Start();
  void Stop() { Enter(StepPart::kOther); }
  void AddKernelTime(double seconds) { sums_[static_cast<size_t>(part_)].kernel_s += seconds; }

 private:
  std::array<Sums, kStepPartCount> sums_ = {};
  StepPart part_ = StepPart::kOther;
  std::chrono::steady_clock::time_point since_;
};

/// Time until the end of the scope belongs to `part`, except for what inner scopes claim. Does
/// nothing without a profile.
class PartScope {
 public:
  PartScope(Profile* profile, StepPart part) : profile_(profile) {
    if (profile_ != nullptr) outer_ = profile_->Enter(part);
  }
  ~PartScope() {
    if (profile_ != nullptr) profile_->Enter(outer_);
  }
  PartScope(const PartScope&) = delete;
  PartScope& operator=(const PartScope&) = delete;

 private:
  Profile* profile_;
  StepPart outer_ = StepPart::kOther;
};

}  // namespace octet
