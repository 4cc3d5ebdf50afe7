// Which rows go to which expert, sorted by expert, so that each touched expert is read once.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/arena.h"
#include "tensor/view.h"

namespace octet {

/// Slots are (token, choice) pairs sorted by expert, tokens in order within one: S = T·k where
/// every token chooses k.
struct ExpertPlan {
  View<const int32_t, 1> offset;       // [E+1]: expert e has slots [offset[e], offset[e+1])
  View<const int32_t, 1> row_of_slot;  // [S] the token's row
  View<const int32_t, 2> slot_of;      // [T, k] where choice j of row t went; -1: nowhere
  View<const float, 2> weight;         // [T, k] gate weights, summing to 1
  /// [S] of LinearTask, for each slot's row; empty: all 0.
  std::span<const int32_t> adapter = {};
};

/// Counting sort of `experts` [T, k] (values < n_experts; -1: a token has fewer choices). Views lie
/// in the arena; `weights` is kept. Above 0, `capacity` is what an expert takes at most: of more
/// choices those with the greatest weights stay, of equal ones the earlier, and the others go
/// nowhere.
ExpertPlan MakeExpertPlan(View<const int32_t, 2> experts, View<const float, 2> weights,
                          int64_t n_experts, Arena& arena, int64_t capacity = 0);

/// What an expert takes of `rows` rows with k choices each: ⌈factor · rows · k / n_experts⌉, at
/// least 1; 0 (no limit) for factor 0.
int64_t ExpertCapacity(double factor, int64_t rows, int64_t k, int64_t n_experts);

/// What rows have [T], for the plan's slots [S], in the arena; empty stays empty.
std::span<const int32_t> BySlot(std::span<const int32_t> of_rows, const ExpertPlan& plan,
                                Arena& arena);

}  // namespace octet
