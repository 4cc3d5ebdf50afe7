// Guesses at the next tokens of a sequence, and the one door to everything that can make them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/forward.h"
#include "sample/sampler.h"

namespace octet {

/// Longest guess for one sequence in one step.
inline constexpr int32_t kMostDraft = 32;
/// How many kinds of evidence a drafter may tell apart.
inline constexpr int32_t kEvidenceKinds = 16;

struct DraftToken {
  int32_t id = -1;
  int32_t evidence =
      0;  // < kEvidenceKinds: how good the drafter's reason was; rates are kept by it
};

/// Guesses that were not computed, but are followed: what would they have brought?
struct PaperGuess {
  std::vector<int32_t> ids;  // empty: none
  int64_t first = 0;         // the position of ids[0]
  int64_t right = 0;         // of them, so far
  double cost_s = 0;         // of computing them
};

/// A wish for guesses at what follows `tokens`.
struct DraftJob {
  uint64_t sequence = 0;            // the same number, the same text, only longer
  std::span<const int32_t> tokens;  // prompt and answer so far, not empty
  const Sampler* sampler = nullptr;
  int32_t most = 0;                // ≤ kMostDraft
  double least_chance = 0;         // of all guesses being right together; below it a guess ends
  std::vector<DraftToken>* draft;  // where to: cleared first
};

/// One engine's. Guesses change how fast tokens come, never which: each is compared with what the
/// model and the sampler choose.
class Drafter {
 public:
  virtual ~Drafter() = default;
  /// Returns the seconds of it that were spent on all further guesses of a sequence, not on these.
  virtual double Draft(std::span<const DraftJob> jobs, Context& context) = 0;
  /// The sequence is over, or was sent back to wait.
  virtual void Forget(uint64_t sequence) { (void)sequence; }

  /// Whether guesses cost so little that they are made even when no step will use them: then rates
  /// are learned without risk.
  virtual bool free() const { return true; }
  /// The chance a guess is right, by evidence, before anything was seen.
  virtual double FirstRate(int32_t evidence) const = 0;
  /// Measured seconds of one more guess for each of `sequences`; negative while unknown.
  virtual double RoundSeconds(int64_t sequences) const { return (void)sequences, 0.0; }
  /// Seconds before the first guess of a sequence of `tokens` tokens; 0 while unknown.
  virtual double CatchUpSeconds(uint64_t sequence, int64_t tokens) const {
    return (void)sequence, (void)tokens, 0.0;
  }
};

}  // namespace octet
