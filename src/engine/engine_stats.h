// What an engine has done and holds. Counters only grow.
#pragma once

#include <cstdint>

namespace octet {

struct EngineStats {
  int64_t waiting = 0, running = 0;  // requests
  int64_t pages = 0;
  int64_t free_pages = 0;           // that hold nothing
  int64_t prefix_pages = 0;         // found again by their text
  int64_t unused_prefix_pages = 0;  // of them, given up when others need the room

  int64_t steps = 0;
  int64_t last_rows = 0, last_sequences = 0;  // of the last step
  int64_t prompt_rows = 0;                    // computed, again after a preemption too
  int64_t prompt_tokens = 0;                  // of requests that began
  int64_t prefix_tokens = 0;                  // of those, found computed
  int64_t generated_tokens = 0;
  int64_t preemptions = 0;  // how often a sequence lost its pages to another
  int64_t finished = 0;     // requests, for whatever reason
  int64_t cancelled = 0;    // of them, past their deadline too
};

}  // namespace octet
