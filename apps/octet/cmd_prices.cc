// octet prices: what a server's tokens cost.
#include <fmt/format.h>

#include <memory>
#include <optional>

#include "accounts_flags.h"
#include "command.h"
#include "octet/accounts.h"

namespace octet::app {
namespace {

struct Flags {
  std::string accounts, model;
  std::optional<double> prompt, cached, completion;
};

Status Run(const Flags& flags) {
  if (flags.prompt || flags.cached || flags.completion) {
    TokenPrice price{flags.model};
    price.prompt = flags.prompt.value_or(0);
    price.cached = flags.cached.value_or(price.prompt);
    price.completion = flags.completion.value_or(0);
    OCTET_TRY(SetTokenPrice(flags.accounts, price));
  }
  OCTET_ASSIGN(const std::vector<TokenPrice> prices, ListTokenPrices(flags.accounts));
  fmt::print("{:<32}{:>12}{:>12}{:>12}\n", "per million tokens", "prompt", "cached", "completion");
  for (const TokenPrice& p : prices) {
    fmt::print("{:<32}{:>12}{:>12}{:>12}\n", p.model.empty() ? "(other models)" : p.model, p.prompt,
               p.cached, p.completion);
  }
  return {};
}

}  // namespace

void Add_prices(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("prices", "What a server's tokens cost, per million; sets and shows them");
  auto flags = std::make_shared<Flags>();
  AddAccountsFlag(*command, flags->accounts);
  command->add_option("--model", flags->model, "Of this model; otherwise of all without their own");
  command->add_option("--prompt", flags->prompt, "Tokens of prompts");
  command->add_option("--cached", flags->cached,
                      "Tokens of prompts that were found computed (as --prompt)");
  command->add_option("--completion", flags->completion, "Tokens of answers");
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
