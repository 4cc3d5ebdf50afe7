// What a step with guessed tokens costs and brings. Arithmetic alone: seconds come from outside.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/drafter.h"

namespace octet {

/// Distinct experts of `n_experts` that `tokens` tokens touch, each choosing `per_token` of them at
/// random: E(1 − (1 − k/E)^n).
double ExpectedExperts(int64_t n_experts, int64_t per_token, double tokens);

/// How a step's time grows with its rows, before any was measured: with the bytes of weights it
/// reads, which for a few rows decide, plus a little for each row's arithmetic.
struct StepPrior {
  double shared_bytes = 1;  // read by every step: attention, head, a dense feed-forward
  double expert_bytes = 0;  // of one expert, all layers together
  int64_t n_experts = 0;    // 0: dense
  int64_t experts_per_token = 0;

  /// In bytes; only ratios matter. Grows with `rows`.
  double At(double rows) const;
};

/// Seconds of steps that decode a fixed number of sequences, by rows beyond one a sequence.
class StepTimes {
 public:
  StepTimes(const StepPrior& prior, int64_t sequences, int32_t most_extra);

  void Add(int32_t extra, double seconds);
  /// The median of the last steps with as many rows. Where there were none lately, between its
  /// neighbours as the prior says; beyond them with the slope they have.
  double Seconds(int32_t extra) const;
  /// Whether anything can be said yet.
  bool ready() const { return entries_[0].count >= kFirstSteps; }
  /// Steps without guesses are what all others are compared with: it is time for one.
  bool WantsPlainStep() const { return now_ - entries_[0].last > kPlainEvery; }
  int32_t most_extra() const { return static_cast<int32_t>(entries_.size()) - 1; }

 private:
  static constexpr int32_t kWindow = 5;
  static constexpr int64_t kFirstSteps = 2;
  static constexpr int64_t kPlainEvery = 64;
  static constexpr int64_t kForget = 512;  // steps after which a time no longer counts
  struct Entry {
    std::array<double, kWindow> seconds = {};
    int64_t count = 0;
    int64_t last = 0;
  };
  bool Known(int32_t extra) const;
  double Median(const Entry& entry) const;
  double Prior(int32_t extra) const;

  StepPrior prior_;
  int64_t sequences_;
  std::vector<Entry> entries_;  // [most_extra + 1]
  int64_t now_ = 0;
};

/// How often guesses of each evidence were right, all before them being right. The past fades.
class AcceptanceRates {
 public:
  explicit AcceptanceRates(const Drafter& drafter);
  void Add(int32_t evidence, bool right);
  /// A step went by without guesses: what was learned about them as a whole fades a little.
  void Fade();
  double Rate(int32_t evidence) const;
  double Overall() const { return overall_; }

 private:
  struct Kind {
    double right = 0, tried = 0;
  };
  std::array<Kind, kEvidenceKinds> kinds_ = {};
  double first_overall_ = 0, overall_ = 0;
};

/// What is known of one sequence's guesses, and how many of them a step shall compute.
struct DraftOffer {
  std::array<double, kMostDraft> chance = {};  // that guess i is right if those before are
  int32_t offered = 0;
  int32_t taken = 0;
};

/// Fills in `taken` so that the step brings the most tokens a second. Guesses must promise
/// kWorthwhile times the speed of a step without any, else nothing is taken. Returns all taken.
inline constexpr double kWorthwhile = 1.04;
int32_t ChooseDrafts(std::span<DraftOffer> offers, const StepTimes& times);

/// What a drafter that costs time should do for a step.
struct DraftPlan {
  int32_t length = 0;       // guesses a sequence, 0: none
  double least_chance = 0;  // go on with a guess only while all of it is right with this chance
  double tokens_per_s = 0;  // expected
};
DraftPlan PlanDraft(double rate, double round_seconds, int64_t sequences, int32_t most,
                    const StepTimes& times);

/// Keeps what guessing may have lost below a share of all time: estimates can be wrong.
class LossLimit {
 public:
  static constexpr double kShare = 1.0 / 50;

  /// A step took `seconds`; without guesses its tokens would have taken `plain_seconds`.
  void Add(double seconds, double plain_seconds);
  /// Guesses that were not computed would have saved so much (negative: lost): where guessing
  /// rests, that is how it can prove itself again.
  void AddPaper(double saved_seconds);
  bool allows_guessing() const { return lost_ <= kShare * elapsed_; }
  double lost() const { return lost_; }

 private:
  double elapsed_ = 0, lost_ = 0;  // negative: a small credit
};

}  // namespace octet
