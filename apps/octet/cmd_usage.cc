// octet usage: what was asked of a server, and what it came to.
#include <fmt/format.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "accounts_flags.h"
#include "command.h"
#include "octet/accounts.h"

namespace octet::app {
namespace {

struct Flags {
  std::string accounts, by = "key";
  UsageQuery query;
  bool csv = false, json = false;
};

void PrintJson(const Flags& flags, const std::vector<UsageRow>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const UsageRow& r : rows) {
    list.push_back({{flags.by, r.name},
                    {"requests", r.requests},
                    {"answered", r.answered},
                    {"prompt_tokens", r.prompt_tokens},
                    {"cached_tokens", r.cached_tokens},
                    {"completion_tokens", r.completion_tokens},
                    {"cost", r.cost}});
  }
  fmt::print("{}\n", list.dump(2));
}

/// As RFC 4180 has it, and harmless in a spreadsheet: names were given by hand.
std::string CsvField(const std::string& text) {
  std::string out = "\"";
  if (!text.empty() && std::string("=+-@").find(text.front()) != std::string::npos) out += '\'';
  for (const char c : text) out.append(c == '"' ? 2 : 1, c);
  return out + "\"";
}

void PrintCsv(const Flags& flags, const std::vector<UsageRow>& rows) {
  fmt::print("{},requests,answered,prompt_tokens,cached_tokens,completion_tokens,cost\n", flags.by);
  for (const UsageRow& r : rows) {
    fmt::print("{},{},{},{},{},{},{:.9f}\n", CsvField(r.name), r.requests, r.answered,
               r.prompt_tokens, r.cached_tokens, r.completion_tokens, r.cost);
  }
}

void PrintTable(const Flags& flags, const std::vector<UsageRow>& rows) {
  fmt::print("{:<28}{:>10}{:>10}{:>14}{:>14}{:>14}{:>14}\n", flags.by, "requests", "answered",
             "prompt", "of it cached", "completion", "cost");
  UsageRow all{"all"};
  const auto print = [](const UsageRow& r) {
    fmt::print("{:<28}{:>10}{:>10}{:>14}{:>14}{:>14}{:>14.6f}\n", r.name, r.requests, r.answered,
               r.prompt_tokens, r.cached_tokens, r.completion_tokens, r.cost);
  };
  for (const UsageRow& r : rows) {
    print(r);
    all.requests += r.requests;
    all.answered += r.answered;
    all.prompt_tokens += r.prompt_tokens;
    all.cached_tokens += r.cached_tokens;
    all.completion_tokens += r.completion_tokens;
    all.cost += r.cost;
  }
  if (rows.size() > 1) print(all);
}

Status Run(Flags& flags) {
  flags.query.by = flags.by == "key"   ? UsageBy::kKey
                   : flags.by == "day" ? UsageBy::kDay
                                       : UsageBy::kModel;
  OCTET_ASSIGN(const std::vector<UsageRow> rows, ReadUsage(flags.accounts, flags.query));
  flags.json ? PrintJson(flags, rows) : flags.csv ? PrintCsv(flags, rows) : PrintTable(flags, rows);
  return {};
}

}  // namespace

void Add_usage(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("usage", "Requests, tokens and cost of a server by key, day or model");
  auto flags = std::make_shared<Flags>();
  AddAccountsFlag(*command, flags->accounts);
  command->add_option("--by", flags->by, "key, day or model (key)")
      ->check(CLI::IsMember({"key", "day", "model"}));
  command->add_option("--since", flags->query.since, "From this day on, UTC")->type_name("DAY");
  command->add_option("--until", flags->query.until, "Up to this day, it too")->type_name("DAY");
  auto* csv = command->add_flag("--csv", flags->csv, "As comma-separated values");
  command->add_flag("--json", flags->json, "As JSON")->excludes(csv);
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
