#include "service/account_store.h"

#include <algorithm>
#include <chrono>

#include "service/api_secret.h"

namespace octet {
namespace {

// Times are UTC: of keys in seconds, of requests in milliseconds since 1970.
constexpr char kSchema[] = R"(
CREATE TABLE keys (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  prefix TEXT NOT NULL,
  hash BLOB NOT NULL UNIQUE,            -- SHA-256 of the secret
  created INTEGER NOT NULL,
  revoked INTEGER NOT NULL DEFAULT 0,
  requests_per_minute INTEGER NOT NULL,
  tokens_per_minute INTEGER NOT NULL,
  requests_per_day INTEGER NOT NULL,
  tokens_per_day INTEGER NOT NULL
);
CREATE UNIQUE INDEX key_names ON keys (name) WHERE revoked = 0;
CREATE TABLE prices (                   -- millionths of the currency per million tokens
  model TEXT PRIMARY KEY,
  prompt INTEGER NOT NULL,
  cached INTEGER NOT NULL,
  completion INTEGER NOT NULL
);
CREATE TABLE requests (
  id INTEGER PRIMARY KEY,
  request TEXT NOT NULL,                -- as in x-request-id
  key INTEGER NOT NULL,                 -- 0: none
  client TEXT NOT NULL,                 -- the key's name then, or an address
  model TEXT NOT NULL,
  path TEXT NOT NULL,
  started INTEGER NOT NULL,
  ended INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'open',   -- open, answered, gone, failed, interrupted
  status INTEGER NOT NULL DEFAULT 0,
  finish TEXT NOT NULL DEFAULT '',
  prompt_tokens INTEGER NOT NULL,
  cached_tokens INTEGER NOT NULL DEFAULT 0,
  completion_tokens INTEGER NOT NULL DEFAULT 0,
  cost INTEGER NOT NULL DEFAULT 0       -- 10^-9 of the currency
);
CREATE INDEX request_times ON requests (started);
CREATE INDEX open_requests ON requests (id) WHERE state = 'open';
)";
constexpr int64_t kVersion = 1;
constexpr int64_t kApplication = 0x4f637465;  // "Octe"

constexpr char kKeyColumns[] =
    "id, name, prefix, created, revoked, requests_per_minute, tokens_per_minute, "
    "requests_per_day, tokens_per_day, hash";

ApiKey ReadKey(const Statement& row) {
  ApiKey key;
  key.id = row.Integer(0);
  key.name = row.Text(1);
  key.prefix = row.Text(2);
  key.created = row.Integer(3);
  key.revoked = row.Integer(4);
  key.limits = {row.Integer(5), row.Integer(6), row.Integer(7), row.Integer(8)};
  return key;
}

Status CheckLimits(const KeyLimits& l) {
  const int64_t values[] = {l.requests_per_minute, l.tokens_per_minute, l.requests_per_day,
                            l.tokens_per_day};
  for (const int64_t value : values) {
    if (value < 0) {
      return Err(ErrorCode::kInvalidArgument, "a limit is {}, expected 0 (none) or more", value);
    }
  }
  return {};
}

Status CheckName(const std::string& name) {
  constexpr size_t kLongest = 100;
  const bool printable =
      std::ranges::all_of(name, [](unsigned char c) { return c >= ' ' && c != 0x7f; });
  if (!name.empty() && name.size() <= kLongest && printable) return {};
  return Err(ErrorCode::kInvalidArgument,
             "\"{}\" cannot name a key: 1 to {} printable characters are expected", name, kLongest);
}

/// A day as SQLite reads it.
Status CheckDay(const std::string& day) {
  constexpr std::string_view kForm = "dddd-dd-dd";
  bool good = day.empty() || day.size() == kForm.size();
  for (size_t i = 0; good && i < day.size(); ++i) {
    good = kForm[i] == '-' ? day[i] == '-' : day[i] >= '0' && day[i] <= '9';
  }
  if (good) return {};
  return Err(ErrorCode::kInvalidArgument, "\"{}\" is not a day, expected one like 2026-08-31", day);
}

}  // namespace

int64_t UnixMilliseconds() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

int64_t CostNano(const MicroPrice& price, const TokenCount& tokens) {
  const int64_t cached = std::min(tokens.cached, tokens.prompt);
  const int64_t pico = (tokens.prompt - cached) * price.prompt + cached * price.cached +
                       tokens.completion * price.completion;
  return (pico + 500) / 1000;
}

Result<AccountStore> AccountStore::Open(const std::filesystem::path& path, bool create) {
  OCTET_ASSIGN(Database database, Database::Open(path, create));
  AccountStore store(std::move(database));
  OCTET_TRY(store.Migrate(path));
  return store;
}

Status AccountStore::Migrate(const std::filesystem::path& path) {
  OCTET_ASSIGN(Transaction transaction, Transaction::Begin(database_));
  OCTET_ASSIGN(Statement count, database_.Prepare("SELECT count(*) FROM sqlite_schema"));
  OCTET_TRY(count.Start());
  const bool is_new = count.Integer(0) == 0;
  count.Reset();
  if (is_new) {
    OCTET_TRY(database_.Execute(kSchema));
    const std::string marks =
        fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplication, kVersion);
    OCTET_TRY(database_.Execute(marks.c_str()));
    return transaction.Commit();
  }
  OCTET_ASSIGN(Statement application, database_.Prepare("PRAGMA application_id"));
  OCTET_TRY(application.Start());
  OCTET_ASSIGN(Statement version, database_.Prepare("PRAGMA user_version"));
  OCTET_TRY(version.Start());
  if (application.Integer(0) != kApplication) {
    return Err(ErrorCode::kCorrupt, "{} is a database of another program", path.string());
  }
  if (version.Integer(0) != kVersion) {
    return Err(ErrorCode::kCorrupt, "{} is an accounts file of version {}, expected {}",
               path.string(), version.Integer(0), kVersion);
  }
  return {};
}

Result<NewApiKey> AccountStore::AddKey(const std::string& name, const KeyLimits& limits) {
  OCTET_TRY(CheckName(name));
  OCTET_TRY(CheckLimits(limits));
  OCTET_ASSIGN(Transaction transaction, Transaction::Begin(database_));
  OCTET_ASSIGN(Statement taken,
               database_.Prepare("SELECT 1 FROM keys WHERE name = ? AND revoked = 0"));
  OCTET_ASSIGN(const bool is_taken, taken.Start(name));
  taken.Reset();
  if (is_taken) {
    return Err(ErrorCode::kInvalidArgument, "there is a key \"{}\" already; revoke it first", name);
  }
  NewApiKey made;
  made.secret = NewApiSecret();
  made.key = {0, name, ApiSecretPrefix(made.secret), UnixMilliseconds() / 1000, 0, limits};
  OCTET_ASSIGN(
      Statement insert,
      database_.Prepare("INSERT INTO keys (name, prefix, hash, created, requests_per_minute, "
                        "tokens_per_minute, requests_per_day, tokens_per_day) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"));
  OCTET_TRY(insert.Run(name, made.key.prefix, HashApiSecret(made.secret), made.key.created,
                       limits.requests_per_minute, limits.tokens_per_minute,
                       limits.requests_per_day, limits.tokens_per_day));
  made.key.id = database_.last_row_id();
  OCTET_TRY(transaction.Commit());
  return made;
}

Result<ApiKey> AccountStore::ValidKey(const std::string& which) {
  OCTET_ASSIGN(Statement find,
               database_.Prepare(fmt::format("SELECT {} FROM keys WHERE revoked = 0 AND "
                                             "(name = ?1 OR prefix = ?1) ORDER BY name = ?1 DESC",
                                             kKeyColumns)));
  OCTET_ASSIGN(const bool found, find.Start(which));
  if (found) return ReadKey(find);
  return Err(ErrorCode::kNotFound, "there is no valid key of the name or prefix \"{}\"", which);
}

Result<ApiKey> AccountStore::Revoke(const std::string& which) {
  OCTET_ASSIGN(Transaction transaction, Transaction::Begin(database_));
  OCTET_ASSIGN(ApiKey key, ValidKey(which));
  key.revoked = UnixMilliseconds() / 1000;
  OCTET_ASSIGN(Statement update, database_.Prepare("UPDATE keys SET revoked = ? WHERE id = ?"));
  OCTET_TRY(update.Run(key.revoked, key.id));
  OCTET_TRY(transaction.Commit());
  return key;
}

Result<ApiKey> AccountStore::SetLimits(const std::string& which, const KeyLimits& limits) {
  OCTET_TRY(CheckLimits(limits));
  OCTET_ASSIGN(Transaction transaction, Transaction::Begin(database_));
  OCTET_ASSIGN(ApiKey key, ValidKey(which));
  key.limits = limits;
  OCTET_ASSIGN(Statement update,
               database_.Prepare("UPDATE keys SET requests_per_minute = ?, tokens_per_minute = ?, "
                                 "requests_per_day = ?, tokens_per_day = ? WHERE id = ?"));
  OCTET_TRY(update.Run(limits.requests_per_minute, limits.tokens_per_minute,
                       limits.requests_per_day, limits.tokens_per_day, key.id));
  OCTET_TRY(transaction.Commit());
  return key;
}

Result<std::vector<ApiKey>> AccountStore::Keys(
    const std::function<void(const ApiKey&, const std::string& hash)>& each_valid) {
  OCTET_ASSIGN(Statement all,
               database_.Prepare(fmt::format("SELECT {} FROM keys ORDER BY id", kKeyColumns)));
  std::vector<ApiKey> keys;
  OCTET_ASSIGN(bool more, all.Start());
  while (more) {
    ApiKey key = ReadKey(all);
    if (key.revoked == 0 && each_valid) each_valid(key, all.Text(9));
    if (key.revoked == 0 || !each_valid) keys.push_back(std::move(key));
    OCTET_ASSIGN(more, all.Step());
  }
  return keys;
}

Status AccountStore::SetPrice(const MicroPrice& price) {
  // A request of a million tokens at the highest price stays far from 2^63.
  constexpr int64_t kMost = 1'000'000'000'000;
  for (const int64_t value : {price.prompt, price.cached, price.completion}) {
    if (value < 0 || value > kMost) {
      return Err(ErrorCode::kInvalidArgument,
                 "a price of {} per million tokens is negative or too high",
                 static_cast<double>(value) / 1e6);
    }
  }
  OCTET_ASSIGN(Statement put,
               database_.Prepare("INSERT OR REPLACE INTO prices (model, prompt, cached, "
                                 "completion) VALUES (?, ?, ?, ?)"));
  return put.Run(price.model, price.prompt, price.cached, price.completion);
}

Result<std::vector<MicroPrice>> AccountStore::Prices() {
  OCTET_ASSIGN(
      Statement all,
      database_.Prepare("SELECT model, prompt, cached, completion FROM prices ORDER BY model"));
  std::vector<MicroPrice> prices;
  OCTET_ASSIGN(bool more, all.Start());
  while (more) {
    prices.push_back({all.Text(0), all.Integer(1), all.Integer(2), all.Integer(3)});
    OCTET_ASSIGN(more, all.Step());
  }
  return prices;
}

Result<std::vector<UsageRow>> AccountStore::Usage(const UsageQuery& query) {
  OCTET_TRY(CheckDay(query.since));
  OCTET_TRY(CheckDay(query.until));
  const char* by = query.by == UsageBy::kKey     ? "client"
                   : query.by == UsageBy::kModel ? "model"
                                                 : "date(started / 1000, 'unixepoch')";
  OCTET_ASSIGN(Statement sums,
               database_.Prepare(fmt::format(
                   "SELECT {} AS name, count(*), sum(state = 'answered'), sum(prompt_tokens), "
                   "sum(cached_tokens), sum(completion_tokens), sum(cost) FROM requests "
                   "WHERE state <> 'failed' "
                   "AND started >= 1000 * CASE ?1 WHEN '' THEN 0 ELSE unixepoch(?1) END "
                   "AND started < CASE ?2 WHEN '' THEN 9223372036854775807 "
                   "ELSE 1000 * unixepoch(?2, '+1 day') END GROUP BY name ORDER BY name",
                   by)));
  std::vector<UsageRow> rows;
  OCTET_ASSIGN(bool more, sums.Start(query.since, query.until));
  while (more) {
    UsageRow row{sums.Text(0),    sums.Integer(1), sums.Integer(2),
                 sums.Integer(3), sums.Integer(4), sums.Integer(5)};
    row.cost = static_cast<double>(sums.Integer(6)) / 1e9;
    rows.push_back(std::move(row));
    OCTET_ASSIGN(more, sums.Step());
  }
  return rows;
}

Result<std::vector<AccountStore::Used>> AccountStore::UsedSince(int64_t since_ms, int64_t step_ms) {
  OCTET_ASSIGN(
      Statement sums,
      database_.Prepare("SELECT key, started / ?2 * ?2 AS at, count(*), "
                        "sum(prompt_tokens + completion_tokens) FROM requests "
                        "WHERE started >= ?1 AND key <> 0 AND state <> 'failed' GROUP BY key, at"));
  std::vector<Used> used;
  OCTET_ASSIGN(bool more, sums.Start(since_ms, step_ms));
  while (more) {
    used.push_back({sums.Integer(0), sums.Integer(1), sums.Integer(2), sums.Integer(3)});
    OCTET_ASSIGN(more, sums.Step());
  }
  return used;
}

Result<int64_t> AccountStore::DataVersion() {
  OCTET_ASSIGN(Statement version, database_.Prepare("PRAGMA data_version"));
  OCTET_TRY(version.Start());
  return version.Integer(0);
}

}  // namespace octet
