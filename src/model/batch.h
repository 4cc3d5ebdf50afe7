// A ragged batch: every new token of every sequence, flattened.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace octet {

/// How a sequence's tokens choose experts where it is not as the model was trained.
struct ExpertControls {
  int32_t top_k = 0;              // experts a token in each layer; 0: the model's
  std::vector<uint64_t> without;  // [n_layers] a bit for each expert not to be chosen; empty: none
  bool any() const { return top_k > 0 || !without.empty(); }
};

/// Rows of one sequence are consecutive, positions ascending by one.
struct Batch {
  std::span<const int32_t> token;       // [T]
  std::span<const int32_t> position;    // [T] absolute
  std::span<const int32_t> sequence;    // [T] ids the KvSource knows
  std::span<const int32_t> logit_rows;  // [R] rows that need logits, ascending

  /// [T] null: as the model does; empty: all rows are.
  std::span<const ExpertControls* const> controls = {};

  /// [T] of the model's AdapterSet, from 1; 0: none; empty: none for all rows.
  std::span<const int32_t> adapters = {};

  int64_t rows() const { return static_cast<int64_t>(token.size()); }
};

}  // namespace octet
