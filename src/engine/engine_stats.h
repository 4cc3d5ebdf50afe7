// What an engine has done and holds. Counters only grow.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace octet {

/// Steps by how many answers got a token in them: none, 1, 2, up to 4, 8 … 1024.
class BatchCounts {
 public:
  static constexpr int64_t Bound(size_t i) { return i == 0 ? 0 : int64_t{1} << (i - 1); }
  void Add(int64_t answers) {
    const auto n = static_cast<uint64_t>(answers);
    const size_t at = n == 0 ? 0 : 1 + static_cast<size_t>(std::bit_width(n - 1));
    ++steps[std::min(at, steps.size() - 1)];
    total += answers;
  }
  std::array<int64_t, 12> steps = {};
  int64_t total = 0;  // answers of all steps
};

struct EngineStats {
  int64_t waiting = 0, running = 0;  // requests
  int64_t pages = 0;
  int64_t free_pages = 0;           // that hold nothing
  int64_t prefix_pages = 0;         // found again by their text
  int64_t prefixes_kept = 0;        // such pages, all that there ever were
  int64_t unused_prefix_pages = 0;  // of them, given up when others need the room

  int64_t steps = 0;
  int64_t last_rows = 0, last_sequences = 0;  // of the last step
  BatchCounts batches;
  int64_t prompt_rows = 0;    // computed, again after a preemption too
  int64_t logit_rows = 0;     // whose logits were computed
  int64_t prompt_tokens = 0;  // of requests that began
  int64_t prefix_tokens = 0;  // of those, found computed
  int64_t generated_tokens = 0;
  int64_t preemptions = 0;  // how often a sequence lost its pages to another
  int64_t finished = 0;     // requests, for whatever reason
  int64_t cancelled = 0;    // of them, past their deadline too
};

}  // namespace octet
