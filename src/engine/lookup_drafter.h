// Guesses by looking up: what followed the last words where they stood before, in the prompt or in
// the answer (prompt lookup: Saxena 2023; LLMA: Yang et al. 2023).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/drafter.h"

namespace octet {

/// One text's pairs of neighbouring tokens, and where each stood: chains as in LZ77, newest first.
class PairIndex {
 public:
  explicit PairIndex(int64_t most_tokens);

  void Clear();
  /// Takes in what `tokens` has more than at the last call.
  void Extend(std::span<const int32_t> tokens);
  /// The place before `tokens.size()` whose past agrees longest with the text's end, the latest of
  /// equals: [place − length, place) equals the last `length` tokens. Length 0: the last two tokens
  /// are new together. `tokens` is what Extend had last.
  struct Match {
    int64_t place = 0;
    int32_t length = 0;
  };
  Match Longest(std::span<const int32_t> tokens) const;

 private:
  size_t Slot(int32_t first, int32_t second) const;

  std::vector<int32_t> newest_;  // [slots] where a pair with this hash ends, exclusive; 0: nowhere
  std::vector<int32_t> previous_;  // [most_tokens + 1] the one before that
  int64_t indexed_ = 0;            // tokens taken in
};

/// Keeps an index for each of the sequences that run at once.
class LookupDrafter : public Drafter {
 public:
  LookupDrafter(int32_t most_sequences, int64_t most_tokens);
  double Draft(std::span<const DraftJob> jobs, Context& context) override;
  void Forget(uint64_t sequence) override;
  double FirstRate(int32_t evidence) const override;

 private:
  struct Text {
    uint64_t sequence = 0;  // 0: free
    PairIndex index;
  };
  Text* Find(uint64_t sequence);

  std::vector<Text> texts_;
};

}  // namespace octet
