// octet cost: what a million tokens cost on this machine.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "octet/bench.h"
#include "octet/cost.h"

namespace octet::app {
namespace {

struct Flags {
  CostOptions cost;
  BenchOptions bench;
  int64_t batch = 8;
  bool json = false;
};

/// Speeds that were not given, measured: prompts of 512 tokens, and answers that are computed
/// together.
Status Measure(Flags& flags) {
  if (flags.cost.prompt_tokens_per_s != 0 && flags.cost.completion_tokens_per_s != 0) return {};
  flags.bench.prompts = {512};
  flags.bench.depths = {-1};
  flags.bench.batches = {flags.batch};
  flags.bench.repetitions = 3;
  fmt::print(stderr, "measuring the speed of {}\n",
             flags.bench.model.empty() ? "the model inside the program" : flags.bench.model);
  OCTET_ASSIGN(const BenchReport report, RunBench(flags.bench));
  for (const BenchFigure& figure : report.figures) {
    double& speed = figure.kind == BenchKind::kPrompt ? flags.cost.prompt_tokens_per_s
                                                      : flags.cost.completion_tokens_per_s;
    if (speed == 0) speed = figure.tokens_per_s;
  }
  return {};
}

Status Run(Flags& flags) {
  OCTET_TRY(Measure(flags));
  OCTET_ASSIGN(const CostReport cost, EstimateCost(flags.cost));
  if (flags.json) {
    const nlohmann::ordered_json json = {
        {"prompt_tokens_per_s", flags.cost.prompt_tokens_per_s},
        {"completion_tokens_per_s", flags.cost.completion_tokens_per_s},
        {"electricity_per_hour", cost.electricity_per_hour},
        {"hardware_per_hour", cost.hardware_per_hour},
        {"per_hour", cost.per_hour},
        {"per_million_prompt", cost.per_million_prompt},
        {"per_million_completion", cost.per_million_completion}};
    fmt::print("{}\n", json.dump(2));
    return {};
  }
  fmt::print("an hour of computing         {:>12.4f}  ({:.4f} electricity, {:.4f} hardware)\n",
             cost.per_hour, cost.electricity_per_hour, cost.hardware_per_hour);
  fmt::print("a million tokens of prompts  {:>12.4f}  at {:.1f} tokens/s\n",
             cost.per_million_prompt, flags.cost.prompt_tokens_per_s);
  fmt::print("a million tokens of answers  {:>12.4f}  at {:.1f} tokens/s\n",
             cost.per_million_completion, flags.cost.completion_tokens_per_s);
  return {};
}

}  // namespace

void Add_cost(CLI::App& app) {
  CLI::App* command = app.add_subcommand("cost", "What a million tokens cost on this machine");
  auto flags = std::make_shared<Flags>();
  CostOptions& c = flags->cost;
  command->add_option("-m,--model", flags->bench.model, "The model to measure")->type_name("PATH");
  command->add_option("-t,--threads", flags->bench.threads, "Threads (default: one a core)");
  command->add_option("--batch", flags->batch, "Answers that are computed together (8)");
  command->add_option("--prompt-speed", c.prompt_tokens_per_s,
                      "Tokens/s of prompts instead of measuring");
  command->add_option("--completion-speed", c.completion_tokens_per_s,
                      "Tokens/s of all answers together instead of measuring");
  command->add_option("--watts", c.watts, "The machine's while it computes")->required();
  command->add_option("--idle-watts", c.idle_watts, "While it waits (0)");
  command->add_option("--kwh-price", c.price_per_kwh, "Of electricity")->required();
  command->add_option("--hardware-price", c.hardware_price, "The machine's own (0)");
  command->add_option("--lifetime", c.lifetime_years, "Years that spreads over (4)");
  command->add_option("--utilisation", c.utilisation, "Share of the time in which it computes (1)");
  command->add_flag("--json", flags->json, "As JSON");
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
