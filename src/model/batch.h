// A ragged batch: every new token of every sequence, flattened.
#pragma once

#include <cstdint>
#include <span>

namespace octet {

/// Rows of one sequence are consecutive, positions ascending by one.
struct Batch {
  std::span<const int32_t> token;       // [T]
  std::span<const int32_t> position;    // [T] absolute
  std::span<const int32_t> sequence;    // [T] ids the KvSource knows
  std::span<const int32_t> logit_rows;  // [R] rows that need logits, ascending

  int64_t rows() const { return static_cast<int64_t>(token.size()); }
};

}  // namespace octet
