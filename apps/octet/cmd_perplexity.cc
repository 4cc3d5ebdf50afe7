// octet perplexity: how well a model predicts a text.
#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "command.h"
#include "octet/eval.h"
#include "octet/progress.h"

namespace octet::app {
namespace {

struct Flags {
  ComputeOptions compute{.arithmetic = "fast"};
  std::string file;
  int64_t context = 512;
  bool json = false;
};

Status Run(const Flags& flags) {
  std::unique_ptr<Progress> bar;
  OCTET_ASSIGN(const PerplexityReport report,
               MeasureFilePerplexity(
                   flags.compute, flags.file, flags.context,
                   [&](int64_t done, int64_t total, double perplexity) {
                     if (!bar)
                       bar = std::make_unique<Progress>("perplexity", static_cast<uint64_t>(total),
                                                        Progress::Unit::kCount);
                     bar->Update(static_cast<uint64_t>(done),
                                 fmt::format("windows, {:.4f} so far", perplexity));
                     return true;
                   }));
  if (bar) bar->Finish("windows");
  if (flags.json) {
    fmt::print(
        "{{\"perplexity\": {:.6f}, \"standard_error\": {:.6f}, \"mean_nll\": {:.8f}, "
        "\"scored_tokens\": {}, \"windows\": {}, "
        "\"context\": {}, \"text_tokens\": {}, \"seconds\": {:.3f}}}\n",
        report.perplexity, report.standard_error, report.mean_nll, report.scored_tokens,
        report.windows, report.context, report.text_tokens, report.seconds);
    return {};
  }
  fmt::print("perplexity {:.4f} +/- {:.4f}\n", report.perplexity, report.standard_error);
  fmt::print(stderr,
             "{} tokens scored in {} windows of {} (the last half of each), {:.1f} tokens/s\n",
             report.scored_tokens, report.windows, report.context,
             static_cast<double>(report.windows * report.context) / report.seconds);
  return {};
}

}  // namespace

void Add_perplexity(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      app.add_subcommand("perplexity", "Measure how well a model predicts a text file");
  command
      ->add_option("-m,--model", flags->compute.model,
                   "Model folder or GGUF file (default: the embedded model)")
      ->envname(kModelVariable);
  command->add_option("-f,--file", flags->file, "UTF-8 text")->required();
  command
      ->add_option("-c,--ctx", flags->context,
                   "Tokens a window; only figures of the same window compare")
      ->capture_default_str();
  command
      ->add_option("--arithmetic", flags->compute.arithmetic,
                   "float32 (default): weights decoded, everything in float; fast: as octet run "
                   "computes (default for a packed file)")
      ->check(CLI::IsMember({"float32", "fast"}));
  command->add_option("--kv-type", flags->compute.kv_type,
                      "Keys and values: f32, f16, bf16 or q8_0");
  command->add_option("-t,--threads", flags->compute.threads,
                      "Threads (default: the cores this process may use)");
  command->add_flag("--json", flags->json, "One JSON object on stdout");
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
