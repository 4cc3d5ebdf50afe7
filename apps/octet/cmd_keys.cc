// octet keys: who may ask a server, and how much.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "accounts_flags.h"
#include "command.h"
#include "octet/accounts.h"

namespace octet::app {
namespace {

struct Flags {
  std::string accounts;
  std::string name;
  bool json = false, all = false;
  std::optional<int64_t> requests_per_minute, tokens_per_minute, requests_per_day, tokens_per_day;

  /// Those that were given, the others as they were.
  KeyLimits Limits(const KeyLimits& before) const {
    return {requests_per_minute.value_or(before.requests_per_minute),
            tokens_per_minute.value_or(before.tokens_per_minute),
            requests_per_day.value_or(before.requests_per_day),
            tokens_per_day.value_or(before.tokens_per_day)};
  }
};

std::string Day(int64_t seconds) {
  return fmt::format("{:%Y-%m-%d}", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

std::string OrNone(int64_t limit) { return limit == 0 ? "-" : std::to_string(limit); }

Status Add(const Flags& flags) {
  OCTET_ASSIGN(const NewApiKey made, AddApiKey(flags.accounts, flags.name, flags.Limits({})));
  fmt::print("{}\n", made.secret);
  fmt::print(stderr, "This is the only time the key of \"{}\" is shown: only its hash is kept.\n",
             made.key.name);
  return {};
}

void PrintJson(const std::vector<ApiKey>& keys) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ApiKey& k : keys) {
    list.push_back({{"name", k.name},
                    {"prefix", k.prefix},
                    {"created", k.created},
                    {"revoked", k.revoked},
                    {"requests_per_minute", k.limits.requests_per_minute},
                    {"tokens_per_minute", k.limits.tokens_per_minute},
                    {"requests_per_day", k.limits.requests_per_day},
                    {"tokens_per_day", k.limits.tokens_per_day}});
  }
  fmt::print("{}\n", list.dump(2));
}

Status List(const Flags& flags) {
  OCTET_ASSIGN(std::vector<ApiKey> keys, ListApiKeys(flags.accounts));
  if (!flags.all) std::erase_if(keys, [](const ApiKey& key) { return key.revoked != 0; });
  if (flags.json) return PrintJson(keys), Status();
  static constexpr char kRow[] = "{:<24}{:<14}{:<12}{:>9}{:>12}{:>10}{:>13}  {}\n";
  fmt::print(kRow, "name", "key", "made", "req/min", "tokens/min", "req/day", "tokens/day", "");
  for (const ApiKey& k : keys) {
    const KeyLimits& l = k.limits;
    fmt::print(kRow, k.name, k.prefix, Day(k.created), OrNone(l.requests_per_minute),
               OrNone(l.tokens_per_minute), OrNone(l.requests_per_day), OrNone(l.tokens_per_day),
               k.revoked == 0 ? "" : "revoked " + Day(k.revoked));
  }
  return {};
}

Status Revoke(const Flags& flags) {
  OCTET_ASSIGN(const ApiKey key, RevokeApiKey(flags.accounts, flags.name));
  fmt::print("revoked \"{}\" ({}…)\n", key.name, key.prefix);
  return {};
}

Status Set(const Flags& flags) {
  OCTET_ASSIGN(const std::vector<ApiKey> keys, ListApiKeys(flags.accounts));
  KeyLimits before;
  for (const ApiKey& key : keys) {
    if (key.revoked == 0 && (key.name == flags.name || key.prefix == flags.name)) {
      before = key.limits;
    }
  }
  OCTET_TRY(SetApiKeyLimits(flags.accounts, flags.name, flags.Limits(before)));
  return {};
}

void AddLimitFlags(CLI::App& command, Flags& flags) {
  command.add_option("--requests-per-minute", flags.requests_per_minute, "0: no limit");
  command.add_option("--tokens-per-minute", flags.tokens_per_minute,
                     "Of prompts and answers; 0: no limit");
  command.add_option("--requests-per-day", flags.requests_per_day, "In any 24 hours; 0: no limit");
  command.add_option("--tokens-per-day", flags.tokens_per_day, "In any 24 hours; 0: no limit");
}

}  // namespace

void Add_keys(CLI::App& app) {
  CLI::App* command = app.add_subcommand("keys", "API keys of a server: add, list, set, revoke");
  auto flags = std::make_shared<Flags>();
  auto action = std::make_shared<std::string>();
  command->add_option("action", *action, "What to do: add, list, set (limits) or revoke")
      ->required()
      ->check(CLI::IsMember({"add", "list", "set", "revoke"}));
  command->add_option("name", flags->name, "The key's name; for set and revoke, or how it begins");
  AddAccountsFlag(*command, flags->accounts);
  AddLimitFlags(*command, *flags);
  command->add_flag("--all", flags->all, "List revoked keys too");
  command->add_flag("--json", flags->json, "List as JSON");
  OnRun(command, [flags, action]() -> Status {
    if (*action == "list") return List(*flags);
    if (flags->name.empty()) {
      return Err(ErrorCode::kInvalidArgument, "octet keys {} wants a key's name", *action);
    }
    return *action == "add" ? Add(*flags) : *action == "set" ? Set(*flags) : Revoke(*flags);
  });
}

}  // namespace octet::app
