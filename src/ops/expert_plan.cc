#include "ops/expert_plan.h"

#include <algorithm>

namespace octet {

ExpertPlan MakeExpertPlan(View<const int32_t, 2> experts, View<const float, 2> weights,
                          int64_t n_experts, Arena& arena) {
  const int64_t rows = experts.shape[0], k = experts.shape[1];
  auto offset = arena.Vector<int32_t>(n_experts + 1);
  auto next = arena.Vector<int32_t>(n_experts);
  auto row_of_slot = arena.Vector<int32_t>(rows * k);
  auto slot_of = arena.Matrix<int32_t>(rows, k);
  std::fill(offset.begin(), offset.end(), 0);
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t j = 0; j < k; ++j) {
      if (experts[t][j] >= 0) ++offset[experts[t][j] + 1];
    }
  }
  for (int64_t e = 0; e < n_experts; ++e) {
    offset[e + 1] += offset[e];
    next[e] = offset[e];
  }
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t j = 0; j < k; ++j) {
      slot_of[t][j] = -1;
      if (experts[t][j] < 0) continue;
      const int32_t slot = next[experts[t][j]]++;
      row_of_slot[slot] = static_cast<int32_t>(t);
      slot_of[t][j] = slot;
    }
  }
  return {offset, row_of_slot, slot_of, weights};
}

std::span<const int32_t> BySlot(std::span<const int32_t> of_rows, const ExpertPlan& plan,
                                Arena& arena) {
  if (of_rows.empty()) return {};
  const int64_t slots = plan.offset[plan.offset.shape[0] - 1];
  auto* of_slots = arena.Allocate<int32_t>(slots);
  for (int64_t s = 0; s < slots; ++s)
    of_slots[s] = of_rows[static_cast<size_t>(plan.row_of_slot[s])];
  return {of_slots, static_cast<size_t>(slots)};
}

}  // namespace octet
