// Sequences packed into one ragged batch, with what each token should predict.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/backward.h"
#include "model/batch.h"
#include "train/objective.h"

namespace octet {

/// Nothing is attended across sequences and there is no padding.
struct TrainBatch {
  std::vector<int32_t> token, position, sequence;  // [T]
  std::vector<int32_t> target_row, target_id;      // [R]
  std::vector<float> weight;                       // [R]
  std::vector<Completion> completions;
  uint64_t dropout_seed = 0;  // what a learner with dropout leaves out of it

  Batch batch() const { return {token, position, sequence, {}}; }
  Targets targets() const { return {target_row, target_id}; }

  /// Adds a sequence; weight[i] is that of predicting tokens[i + 1], and where it is 0 nothing is
  /// predicted. Empty: all 1. The targets become one Completion.
  void Append(std::span<const int32_t> tokens, std::span<const float> weights = {});
};

}  // namespace octet
