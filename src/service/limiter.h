// How much a key may still use: sums over the last minute and the last day.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "octet/accounts.h"

namespace octet {

/// A sum over the last `buckets` spans of `width_ms` and the one that has begun, so at least over
/// the last buckets · width_ms.
class SlidingSum {
 public:
  SlidingSum(int64_t width_ms, int64_t buckets)
      : width_ms_(width_ms), counts_(static_cast<size_t>(buckets + 1)) {}

  /// Times may not come in order; what is too old does not count.
  void Add(int64_t at_ms, int64_t amount);
  int64_t Total(int64_t now_ms);
  /// Milliseconds until the sum will be `most` or less if nothing is added; 0: it is.
  int64_t WaitFor(int64_t now_ms, int64_t most);

 private:
  void Advance(int64_t now_ms);
  size_t Place(int64_t bucket) const {
    return static_cast<size_t>(bucket % static_cast<int64_t>(counts_.size()));
  }

  int64_t width_ms_;
  std::vector<int64_t> counts_;  // by the span's number modulo their count
  int64_t newest_ = 0;           // the span's number
  int64_t total_ = 0;
};

/// One of a key's four limits as it stands.
struct LimitState {
  const char* name = "";  // "requests", "tokens", "requests-day", "tokens-day"
  int64_t limit = 0;      // 0: none
  int64_t remaining = 0;
  int64_t reset_ms = 0;  // until all of it is there again
};
using LimitStates = std::array<LimitState, 4>;

struct LimitRefusal {
  std::string message;
  bool never = false;  // the request is larger than the limit itself
  int64_t retry_ms = 0;
};

/// One thread's, or behind a mutex. Times are in milliseconds since 1970.
class Limiter {
 public:
  /// Counts a request and its tokens if all limits allow both; otherwise says why not.
  /// `tokens`: the most it can use.
  [[nodiscard]] bool Reserve(int64_t key, const KeyLimits& limits, int64_t tokens, int64_t now_ms,
                             LimitRefusal& refusal);
  /// What was reserved at `at_ms` turned out to be less: gives tokens back, and the request itself
  /// where it was not answered.
  void GiveBack(int64_t key, int64_t at_ms, int64_t tokens, bool request);
  /// The most tokens a request can have now; a huge number without a limit.
  int64_t TokensLeft(int64_t key, const KeyLimits& limits, int64_t now_ms);
  LimitStates States(int64_t key, const KeyLimits& limits, int64_t now_ms);

  /// What was used before this process began.
  void AddMinute(int64_t key, int64_t at_ms, int64_t requests, int64_t tokens);
  void AddDay(int64_t key, int64_t at_ms, int64_t requests, int64_t tokens);

 private:
  struct Windows {
    SlidingSum minute_requests{1000, 60}, minute_tokens{1000, 60};
    SlidingSum day_requests{60'000, 1440}, day_tokens{60'000, 1440};
  };
  struct Rule {
    SlidingSum* sum;
    int64_t limit;
    const char* name;
    const char* words;
    bool tokens;
  };
  std::array<Rule, 4> Rules(int64_t key, const KeyLimits& limits);
  std::unordered_map<int64_t, Windows> keys_;
};

}  // namespace octet
