// Who asks, whether they may, and what it came to: everything a server asks of accounts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "service/ledger.h"
#include "service/limiter.h"

namespace octet {

/// A request before it runs. Without `most_completion` (the client named no bound) what its key has
/// left bounds it.
struct Admission {
  LedgerEntry entry;
  int64_t least_completion = 0;  // a token of each answer
  int64_t completion_room = 0;   // the most the model could answer
  std::optional<int64_t> most_completion;
  std::string base_model = {};  // whose price holds where entry.model (an adapter) has none
};

/// A request that runs; in the ledger as open.
struct Ticket {
  int64_t row = 0, key = 0;
  std::string model, base_model;
  int64_t at_ms = 0;
  int64_t reserved = 0;    // tokens
  int64_t completion = 0;  // the most it may answer
};

/// Any thread.
class Bookkeeper {
 public:
  /// Makes the file where there is none. kInvalidArgument while another server has it.
  static Result<std::unique_ptr<Bookkeeper>> Open(const std::filesystem::path& path);
  ~Bookkeeper();

  /// The valid key with this secret.
  std::optional<ApiKey> Find(std::string_view secret) const;

  /// Reserves what the request may use and begins its row; `done` hears when that is on disk.
  std::optional<Ticket> Admit(Admission admission, WhenDurable done, LimitRefusal& refusal);
  void Progress(const Ticket& ticket, const TokenCount& tokens);
  /// Gives back what was not used and prices the rest; `done` hears when the row is on disk.
  void Settle(const Ticket& ticket, const Settlement& settlement, WhenDurable done);

  /// Those of the key's limits that it has.
  std::vector<LimitState> Limits(int64_t key) const;
  LedgerStats stats() const { return ledger_->stats(); }
  /// Why nothing can be accounted for at the moment; empty: it can.
  std::string failure() const { return ledger_->failure(); }

 private:
  Bookkeeper() = default;
  Status Lock(const std::filesystem::path& path);
  Status AddPast(AccountStore& store);
  void Learn(std::vector<ApiKey> keys, std::vector<std::string> hashes,
             std::vector<MicroPrice> prices);
  KeyLimits LimitsOf(int64_t key) const;  // under mutex_

  int lock_file_ = -1;
  mutable std::mutex mutex_;  // guards what follows
  std::unordered_map<std::string, ApiKey> by_hash_;
  std::unordered_map<int64_t, KeyLimits> limits_;
  std::vector<MicroPrice> prices_;
  mutable Limiter limiter_;

  std::unique_ptr<Ledger> ledger_;  // last: its thread uses all of the above
};

}  // namespace octet
