#include "ops/expert_plan.h"

#include <algorithm>
#include <cmath>

namespace octet {
namespace {

/// Marks with -1 in slot_of what each expert has no room for; counts[e] becomes what it takes.
void DropBeyond(View<const int32_t, 2> experts, View<const float, 2> weights, int64_t capacity,
                View<int32_t, 1> counts, View<int32_t, 2> slot_of, Arena& arena) {
  const Arena::Scope scope(arena);
  const int64_t k = experts.shape[1], n = experts.size();
  auto* wants = arena.Allocate<int32_t>(n);  // choices, as t · k + j
  const auto weight_of = [&](int32_t choice) { return weights[choice / k][choice % k]; };
  const auto before = [&](int32_t a, int32_t b) {
    const float x = weight_of(a), y = weight_of(b);
    return x != y ? x > y : a < b;
  };
  for (int32_t e = 0; e < counts.shape[0]; ++e) {
    if (counts[e] <= capacity) continue;
    int32_t* end = wants;
    for (int64_t choice = 0; choice < n; ++choice) {
      if (experts[choice / k][choice % k] == e) *end++ = static_cast<int32_t>(choice);
    }
    std::nth_element(wants, wants + capacity, end, before);
    for (const int32_t* late = wants + capacity; late != end; ++late)
      slot_of[*late / k][*late % k] = -1;
    counts[e] = static_cast<int32_t>(capacity);
  }
}

}  // namespace

int64_t ExpertCapacity(double factor, int64_t rows, int64_t k, int64_t n_experts) {
  if (factor <= 0) return 0;
  const double even = static_cast<double>(rows * k) / static_cast<double>(n_experts);
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(factor * even)));
}

ExpertPlan MakeExpertPlan(View<const int32_t, 2> experts, View<const float, 2> weights,
                          int64_t n_experts, Arena& arena, int64_t capacity) {
  const int64_t rows = experts.shape[0], k = experts.shape[1];
  auto offset = arena.Vector<int32_t>(n_experts + 1);
  auto next = arena.Vector<int32_t>(n_experts);
  auto row_of_slot = arena.Vector<int32_t>(rows * k);
  auto slot_of = arena.Matrix<int32_t>(rows, k);
  std::fill(next.begin(), next.end(), 0);
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t j = 0; j < k; ++j) {
      slot_of[t][j] = experts[t][j] < 0 ? -1 : 0;
      if (experts[t][j] >= 0) ++next[experts[t][j]];
    }
  }
  if (capacity > 0) DropBeyond(experts, weights, capacity, next, slot_of, arena);
  offset[0] = 0;
  for (int64_t e = 0; e < n_experts; ++e) {
    offset[e + 1] = offset[e] + next[e];
    next[e] = offset[e];
  }
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t j = 0; j < k; ++j) {
      if (slot_of[t][j] < 0) continue;
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
