// API keys with their limits, prices, and what was used: one SQLite file, which `octet serve
// --accounts FILE` reads and fills while other programs look at it. Guide: docs/guides/accounts.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "octet/error.h"

namespace octet {

/// What a key may use in any 60 seconds and in any 24 hours; 0: as much as it likes. Tokens are
/// those of prompts, found computed or not, and of answers.
struct KeyLimits {
  int64_t requests_per_minute = 0, tokens_per_minute = 0;
  int64_t requests_per_day = 0, tokens_per_day = 0;
};

struct ApiKey {
  int64_t id = 0;
  std::string name;
  std::string prefix;   // the secret's first characters, to tell keys apart
  int64_t created = 0;  // seconds since 1970
  int64_t revoked = 0;  // the same; 0: it is valid
  KeyLimits limits = {};
};

struct NewApiKey {
  ApiKey key;
  std::string secret;  // kept nowhere: only its SHA-256 is
};

/// Per million tokens, in whatever currency; counted to a millionth.
struct TokenPrice {
  /// Or an adapter, which without a price of its own costs what its model does; empty: every model
  /// without a price of its own.
  std::string model;
  double prompt = 0;
  double cached = 0;  // prompt tokens that were found computed
  double completion = 0;
};

enum class UsageBy { kKey, kDay, kModel };

struct UsageQuery {
  UsageBy by = UsageBy::kKey;
  std::string since, until;  // days of UTC, both counted: "2026-08-31"; empty: no bound
};

struct UsageRow {
  std::string name;      // of the key or the model, or the day
  int64_t requests = 0;  // that were admitted
  int64_t answered = 0;  // of them, to their end
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
  double cost = 0;
};

// Of all these: kNotFound when there is no such file (adding a key makes it) or key,
// kInvalidArgument for names and numbers that cannot be, kCorrupt for a file that is something
// else, kIo.

/// A key of a name that no valid key has.
Result<NewApiKey> AddApiKey(const std::filesystem::path& accounts, const std::string& name,
                            const KeyLimits& limits);
/// Revoked ones too, in the order they were made.
Result<std::vector<ApiKey>> ListApiKeys(const std::filesystem::path& accounts);
/// `which`: a valid key's name or prefix. A running server knows within two seconds.
Result<ApiKey> RevokeApiKey(const std::filesystem::path& accounts, const std::string& which);
Result<ApiKey> SetApiKeyLimits(const std::filesystem::path& accounts, const std::string& which,
                               const KeyLimits& limits);
/// For what is answered from now on.
Status SetTokenPrice(const std::filesystem::path& accounts, const TokenPrice& price);
Result<std::vector<TokenPrice>> ListTokenPrices(const std::filesystem::path& accounts);
/// Sorted by name.
Result<std::vector<UsageRow>> ReadUsage(const std::filesystem::path& accounts,
                                        const UsageQuery& query);

}  // namespace octet
