#include "train/train_batch.h"

#include "base/check.h"

namespace octet {

void TrainBatch::Append(std::span<const int32_t> tokens, std::span<const float> weights) {
  CHECK(weights.empty() || weights.size() + 1 >= tokens.size());
  const int32_t id = sequence.empty() ? 0 : sequence.back() + 1;
  Completion completion{static_cast<int64_t>(target_row.size()), 0};
  for (size_t i = 0; i < tokens.size(); ++i) {
    const float w = i + 1 == tokens.size() ? 0.0f : (weights.empty() ? 1.0f : weights[i]);
    if (w != 0.0f) {
      target_row.push_back(static_cast<int32_t>(token.size()));
      target_id.push_back(tokens[i + 1]);
      weight.push_back(w);
      ++completion.count;
    }
    token.push_back(tokens[i]);
    position.push_back(static_cast<int32_t>(i));
    sequence.push_back(id);
  }
  completions.push_back(completion);
}

}  // namespace octet
