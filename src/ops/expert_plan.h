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
  View<const int32_t, 2> slot_of;      // [T, k] where choice j of row t went; -1: no choice
  View<const float, 2> weight;         // [T, k] gate weights, summing to 1
  /// [S] of LinearTask, for each slot's row; empty: all 0.
  std::span<const int32_t> adapter = {};
};

/// Counting sort of `experts` [T, k] (values < n_experts; -1: a token has fewer choices). Views lie
/// in the arena; `weights` is kept.
ExpertPlan MakeExpertPlan(View<const int32_t, 2> experts, View<const float, 2> weights,
                          int64_t n_experts, Arena& arena);

/// What rows have [T], for the plan's slots [S], in the arena; empty stays empty.
std::span<const int32_t> BySlot(std::span<const int32_t> of_rows, const ExpertPlan& plan,
                                Arena& arena);

}  // namespace octet
