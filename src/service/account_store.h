// The accounts file: keys, prices, and a row for every request that was admitted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octet/accounts.h"
#include "service/sqlite.h"

namespace octet {

/// Millionths of the currency per million tokens: what a token costs in 10^-12.
struct MicroPrice {
  std::string model;  // empty: every model without a price of its own
  int64_t prompt = 0, cached = 0, completion = 0;
};

struct TokenCount {
  int64_t prompt = 0;
  int64_t cached = 0;  // of them, found computed
  int64_t completion = 0;
  int64_t total() const { return prompt + completion; }
  bool operator==(const TokenCount&) const = default;
};

/// 10^-9 of the currency, rounded.
int64_t CostNano(const MicroPrice& price, const TokenCount& tokens);

/// How the row of a request that is over reads.
struct Settlement {
  TokenCount tokens;
  int status = 200;  // HTTP's; 499: the client went away
  /// "answered": the whole answer was given out. "gone": the client left before. "failed": it got
  /// an error, and pays nothing. Rows that are neither are "open", or "interrupted" when the server
  /// ended first.
  std::string_view state = "answered";
  std::string finish;  // why the answer ended
};

/// One connection to the file; one thread's at a time. Errors name the file.
class AccountStore {
 public:
  /// kNotFound without `create`; kCorrupt for files of other programs and later versions.
  static Result<AccountStore> Open(const std::filesystem::path& path, bool create);

  Result<NewApiKey> AddKey(const std::string& name, const KeyLimits& limits);
  Result<ApiKey> Revoke(const std::string& which);
  Result<ApiKey> SetLimits(const std::string& which, const KeyLimits& limits);
  /// With `hash`: calls it with every valid key's SHA-256 and leaves revoked ones out.
  Result<std::vector<ApiKey>> Keys(
      const std::function<void(const ApiKey&, const std::string& hash)>& each_valid = {});
  Status SetPrice(const MicroPrice& price);
  Result<std::vector<MicroPrice>> Prices();
  Result<std::vector<UsageRow>> Usage(const UsageQuery& query);

  /// What counts towards limits, from a time on (ms since 1970), in pieces of `step_ms`.
  struct Used {
    int64_t key, at_ms, requests, tokens;
  };
  Result<std::vector<Used>> UsedSince(int64_t since_ms, int64_t step_ms);

  /// A number that changes when another connection has written.
  Result<int64_t> DataVersion();
  Database& database() { return database_; }

 private:
  explicit AccountStore(Database database) : database_(std::move(database)) {}
  Status Migrate(const std::filesystem::path& path);
  Result<ApiKey> ValidKey(const std::string& which);
  Database database_;
};

/// Milliseconds since 1970.
int64_t UnixMilliseconds();

}  // namespace octet
