// Guessing ahead: several tokens of a sequence in one step. A step of a few rows reads hardly more
// than a step of one, as long as they touch the same experts; every guess that turns out right
// saves a step. Tokens stay the same: each position's is chosen by the sampler from the model's own
// logits, which do not depend on how many rows a step has, and a guess counts only where it equals
// that.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/draft_cost.h"
#include "engine/drafter.h"
#include "engine/sequence.h"
#include "model/weights.h"

namespace octet {

struct SpeculationOptions {
  std::shared_ptr<Drafter> drafter;  // one engine's; null: no guessing
  int32_t max_draft = 16;            // guesses a sequence and step, ≤ kMostDraft
  /// Every guess is computed, whatever it costs: for tests, and to measure what guessing costs.
  bool always = false;
};

/// Decides, step by step, how many guesses of each sequence to compute.
class Speculator {
 public:
  /// `options.drafter` is not null.
  Speculator(SpeculationOptions options, const Model& model, int32_t max_sequences);

  /// Memory for the guesses of a new sequence, so that steps do not allocate.
  void Prepare(Sequence& sequence) const;
  /// The sequences of a step that only decodes, with how many guesses each may have at most: fills
  /// in their draft and draft_rows.
  struct Room {
    Sequence* sequence;
    int32_t most;
  };
  void Plan(std::span<const Room> rooms, Context& context);
  /// What became of a sequence's guesses: `committed` tokens were chosen in this step.
  void Learn(Sequence& sequence, int32_t committed);
  /// A planned step of `sequences` sequences and `rows` rows is over, and took `seconds` from Plan
  /// on.
  void StepDone(int64_t sequences, int64_t rows, double seconds);
  void Forget(const Sequence& sequence);

 private:
  int32_t PlannedLength(std::span<const Room> rooms, StepTimes& times, double& least_chance);
  int32_t Choose(std::span<const Room> rooms, const StepTimes& times);
  void TakeOnPaper(std::span<const Room> rooms, const StepTimes& times, int32_t extra);
  void FollowPaper(Sequence& sequence, int64_t committed);

  SpeculationOptions options_;
  std::vector<StepTimes> times_;  // [sequences - 1]
  AcceptanceRates rates_;
  LossLimit limit_;
  std::vector<DraftJob> jobs_;
  std::vector<DraftOffer> offers_;
  int64_t committed_ = 0;  // tokens of this step
  double draft_s_ = 0;     // of this step, spent by the drafter
  double invested_s_ = 0;  // of that, for the sake of later steps
  double a_token_s_ = 0;   // without guesses
};

}  // namespace octet
