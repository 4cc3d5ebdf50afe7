// The rows of requests, written by a thread of its own: many in one commit, nobody waits for a disk
// who has nothing to wait for.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "service/account_store.h"

namespace octet {

/// What is known of a request when it is admitted.
struct LedgerEntry {
  std::string request;  // its id
  int64_t key = 0;      // 0: none
  std::string client, model, path;
  int64_t prompt_tokens = 0;
  int64_t started_ms = 0;
};

/// Hears, on the ledger's thread, whether a row is on disk.
using WhenDurable = std::function<void(bool ok)>;

struct LedgerStats {
  int64_t rows = 0;     // begun
  int64_t commits = 0;  // each of any number of changes
  double commit_s = 0;  // all of them together
};

/// Any thread, except from a WhenDurable.
class Ledger {
 public:
  /// Keys and prices as the file has them, whenever somebody changed them.
  using WhenChanged = std::function<void(std::vector<ApiKey> keys, std::vector<std::string> hashes,
                                         std::vector<MicroPrice> prices)>;
  /// Closes the rows that a server left open which did not come to its end. `changed` is called
  /// before this returns, and later on the ledger's thread.
  static Result<std::unique_ptr<Ledger>> Open(AccountStore store, WhenChanged changed);
  /// Writes what was handed in.
  ~Ledger();

  /// A row of state "open"; its number.
  int64_t Begin(LedgerEntry entry, WhenDurable done);
  /// What an open row's client has got so far; on disk within a second or so.
  void Progress(int64_t row, const TokenCount& tokens);
  void End(int64_t row, const Settlement& settlement, int64_t cost_nano, WhenDurable done);

  LedgerStats stats() const;
  /// Why rows cannot be written; empty while they can.
  std::string failure() const;

 private:
  struct Change {
    int64_t row = 0;
    std::optional<LedgerEntry> begin;
    std::optional<Settlement> end;
    int64_t cost_nano = 0, at_ms = 0;
    WhenDurable done;
  };
  using Counts = std::unordered_map<int64_t, TokenCount>;

  Ledger(AccountStore store, WhenChanged changed);
  Status Prepare();
  void Push(Change change);
  void Loop();
  void TryAgain(std::vector<Change> changes);
  Status Write(const std::vector<Change>& changes, const Counts& progress);
  Status WriteChange(const Change& change);
  Status ReadAccounts();

  // Of the ledger's thread once it runs.
  AccountStore store_;
  WhenChanged changed_;
  std::optional<Statement> insert_, update_, finish_;
  int64_t data_version_ = 0;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::vector<Change> changes_;
  Counts progress_;  // of rows that are open and have news
  int64_t next_row_ = 1;
  LedgerStats stats_;
  std::string failure_;
  bool stopping_ = false;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace octet
