// Requests of the model as accounts see them: admitted, counted, and answered only once their row
// is on disk.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "server/host.h"
#include "server/http_types.h"

namespace octet {

struct Wish {
  std::string model;  // or adapter: whose name the row has
  int64_t prompt_tokens = 0;
  int64_t choices = 0;               // answers; 0: none (embeddings)
  std::optional<int64_t> most_each;  // tokens of an answer
  int64_t room_each = 0;             // what the context leaves of one
};

/// Reserves what a request may use in its key's limits and begins its row. From then on `exchange`
/// is one that lets an answer's first bytes go when the row is on disk as open, and its last when
/// it is as answered. Gives the most tokens each answer may have. Nothing happens without
/// accounts. Errors: 429 with Retry-After, 400 for what no limit of the key allows.
ApiResult<std::optional<int64_t>> AccountFor(Host& host, std::shared_ptr<Exchange>& exchange,
                                             const Wish& wish);

}  // namespace octet
