// octet bench: how fast a model runs here, and how much of the machine that uses.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>

#include "command.h"
#include "octet/bench.h"
#include "stop_signal.h"

namespace octet::app {
namespace {

struct Flags {
  BenchOptions bench;
  bool limits = false;
  bool json = false;
  std::string plot;
  std::string save;  // where to write the synthetic model, instead of measuring
  ConvertOptions write;
};

double Giga(int64_t bytes) { return static_cast<double>(bytes) / 1e9; }

void PrintLimits(const BenchReport& r) {
  fmt::print("{:<42}{:>10}{:>9}{:>9}\n", "the machine's limits, measured between the steps",
             "median", "min", "max");
  for (const BenchLimit& limit : r.limits) {
    const bool bytes = limit.unit == "B/s";
    const double unit = bytes ? 1e9 : 1e12;
    fmt::print("{:<42}{:>10.2f}{:>9.2f}{:>9.2f} {}\n", limit.name, limit.median / unit,
               limit.min / unit, limit.max / unit, bytes ? "GB/s" : "Top/s");
  }
}

void PrintHeader(const BenchReport& r) {
  fmt::print("{}\n", r.model);
  fmt::print(
      "{} layers, {:.2f} B parameters ({:.2f} B active), {:.2f} GB of weights {}, {} keys "
      "and values\n",
      r.layers, static_cast<double>(r.parameters) / 1e9,
      static_cast<double>(r.active_parameters) / 1e9, Giga(r.weight_bytes), r.layout, r.kv_type);
  fmt::print("{} threads; {}; medians of {}\n", r.threads, r.isa, r.repetitions);
  fmt::print("loaded in {:.2f} s with at most {:.2f} GB of memory; {:.2f} GB at most in all\n",
             r.load_s, Giga(r.load_peak_memory_bytes), Giga(r.peak_memory_bytes));
  for (const std::string& note : r.notes) fmt::print("note: {}\n", note);
  fmt::print("\n");
}

bool Has(const BenchReport& r, BenchKind kind) {
  return std::any_of(r.figures.begin(), r.figures.end(),
                     [&](const BenchFigure& f) { return f.kind == kind; });
}

std::string Percent(double share) { return share > 0 ? fmt::format("{:.0f}%", share * 100) : "-"; }

/// What every table begins with.
std::string Speed(const BenchFigure& f) {
  return fmt::format(
      "{:<20}{:>10.2f}  {:<26}", f.name, f.tokens_per_s,
      fmt::format("{:.2f} ({:.2f}…{:.2f})", f.median_s * 1e3, f.min_s * 1e3, f.max_s * 1e3));
}

void PrintPrompts(const BenchReport& r) {
  const auto first = std::find_if(r.figures.begin(), r.figures.end(), [](const BenchFigure& f) {
    return f.kind == BenchKind::kPrompt;
  });
  const bool loads = first->loaded_peak_share > 0;
  fmt::print("\n{:<20}{:>10}  {:<26}{:>10}{:>24}{}\n", "prompts", "tok/s", "step ms (min…max)",
             "TFLOP/s", first->peak.empty() ? "of peak" : "of " + first->peak,
             loads ? fmt::format("{:>18}", "of it with loads") : "");
  for (const BenchFigure& f : r.figures) {
    if (f.kind != BenchKind::kPrompt) continue;
    fmt::print("{}{:>10.3f}{:>24}{}\n", Speed(f), f.flops_per_s / 1e12, Percent(f.peak_share),
               loads ? fmt::format("{:>18}", Percent(f.loaded_peak_share)) : "");
  }
}

void PrintDecode(const BenchReport& r) {
  fmt::print("\n{:<20}{:>10}  {:<26}{:>10}{:>10}{:>14}{:>16}\n", "one sequence", "tok/s",
             "step ms (min…max)", "reads GB", "GB/s", "of read limit", "depth costs");
  for (const BenchFigure& f : r.figures) {
    if (f.kind != BenchKind::kDecode) continue;
    fmt::print("{}{:>10.3f}{:>10.1f}{:>14}{:>16}\n", Speed(f), Giga(f.weight_bytes + f.kv_bytes),
               f.read_bytes_per_s / 1e9, Percent(f.read_share),
               f.kv_cost != 0 ? fmt::format("{:.2f}x its KV", f.kv_cost) : "-");
  }
}

void PrintBatches(const BenchReport& r, int64_t text_tokens) {
  fmt::print("\n{:<20}{:>10}  {:<26}{:>10}{:>10}{:>14}{:>16}\n",
             text_tokens > 0 ? fmt::format("texts of {}", text_tokens) : "together", "tok/s",
             "step ms (min…max)", "reads GB", "experts", "allowed tok/s", "of allowed");
  for (const BenchFigure& f : r.figures) {
    if (f.kind != BenchKind::kBatch) continue;
    fmt::print("{}{:>10.3f}{:>10}{:>14.2f}{:>16}\n", Speed(f), Giga(f.weight_bytes + f.kv_bytes),
               f.experts_per_layer > 0 ? fmt::format("{:.1f}", f.experts_per_layer) : "-",
               f.allowed_tokens_per_s, Percent(f.allowed_share));
  }
}

void PrintProfile(const BenchFigure& f) {
  fmt::print("\n{:<20}{:>12}{:>10}{:>18}\n", f.name, "ms", "of step", "outside kernels");
  for (const BenchPart& part : f.parts) {
    fmt::print("  {:<18}{:>12.3f}{:>9.2f}%{:>17.2f}%\n", part.name, part.seconds * 1e3,
               part.share * 100, part.outside_share * 100);
  }
  fmt::print("  {:<18}{:>12}{:>10}{:>17.2f}%\n", "in all", "", "", f.outside_share * 100);
}

void PrintMeasured(const BenchReport& r, const BenchOptions& options) {
  if (r.model.empty()) {
    fmt::print("{} threads; {}\n", r.threads, r.isa);
    PrintLimits(r);
    return;
  }
  PrintHeader(r);
  PrintLimits(r);
  if (Has(r, BenchKind::kPrompt)) PrintPrompts(r);
  if (Has(r, BenchKind::kDecode)) PrintDecode(r);
  if (Has(r, BenchKind::kBatch)) PrintBatches(r, options.batch_tokens);
  for (const BenchFigure& f : r.figures) {
    if (!f.parts.empty()) PrintProfile(f);
  }
}

Status Save(const Flags& flags) {
  ConvertOptions write = flags.write;
  write.show_progress = true;
  write.threads = flags.bench.threads;
  write.stop = &StopOnSignal();
  OCTET_ASSIGN(const ConvertReport report, SaveSyntheticModel(flags.bench, flags.save, write));
  for (const std::string& note : report.notes) fmt::print(stderr, "note: {}\n", note);
  for (const auto& file : report.files) fmt::print("{}\n", file.string());
  return {};
}

Status Run(const Flags& flags) {
  if (!flags.save.empty()) return Save(flags);
  const bool terminal = isatty(STDERR_FILENO) == 1;
  const auto progress = [&](const std::string& what, int64_t done, int64_t total) {
    if (terminal) fmt::print(stderr, "\r\x1b[K{}/{} {}", done, total, what);
  };
  OCTET_ASSIGN(const BenchReport report,
               flags.limits ? MeasureLimits(flags.bench) : RunBench(flags.bench, progress));
  if (terminal) fmt::print(stderr, "\r\x1b[K");
  if (flags.json) {
    fmt::print("{}\n", BenchJson(report));
  } else {
    PrintMeasured(report, flags.bench);
  }
  if (!flags.plot.empty()) {
    std::ofstream file(flags.plot, std::ios::binary);
    file << BenchSvg(report);
    if (!file.flush()) return Err(ErrorCode::kIo, "{}: cannot write the picture", flags.plot);
  }
  return {};
}

}  // namespace

void Add_bench(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  BenchOptions& b = flags->bench;
  CLI::App* command =
      app.add_subcommand("bench", "Measure prompt and decode speed beside the machine's limits");
  command
      ->add_option("-m,--model", b.model,
                   "Folder or GGUF file; without it the model inside the program")
      ->envname(kModelVariable);
  command->add_option("--synthetic", b.synthetic,
                      "Random weights in the shape of mixtral-8x7b, mixtral-8x22b, mistral-7b, "
                      "llama-2-70b, or tiny-moe (a toy)");
  command->add_option("--layers", b.layers, "Layers of the synthetic model; 0: all");
  command->add_option("--type", b.type, "Quantisation of the synthetic model")
      ->capture_default_str();
  const auto sizes = [command](const char* flag, std::vector<int64_t>& values, const char* what) {
    return command->add_option(flag, values, what)->delimiter(',');
  };
  sizes("-p,--prompts", b.prompts, "Prompt lengths; 0: none")->capture_default_str();
  sizes("--prompt-depths", b.prompt_depths, "Depths at which to take a prompt of 512 tokens");
  sizes("-d,--depths", b.depths, "Depths to decode one token at; -1: none")->capture_default_str();
  sizes("-b,--batches", b.batches, "Sequences decoding together; 0: none")->capture_default_str();
  command->add_option("--batch-depth", b.batch_depth,
                      "Past tokens of each sequence of a batch (0)");
  command
      ->add_option("--batch-tokens", b.batch_tokens,
                   "Tokens that each sequence of a batch then decodes, one after the other, drawn "
                   "from its own logits; 0: the same step again and again")
      ->capture_default_str();
  command->add_flag("--limits", flags->limits,
                    "Measure only what the machine can do: memory and arithmetic");
  command->add_option("-r,--repetitions,--repeat", b.repetitions, "Rounds over all of them")
      ->capture_default_str();
  command->add_option("--kv-type,--kv", b.kv_type, "Keys and values: f16, f32, bf16 or q8_0")
      ->capture_default_str();
  command->add_option("--arithmetic", b.arithmetic, "fast, or float32")->capture_default_str();
  command->add_option("-t,--threads", b.threads, "Threads (default: one a physical core)");
  command->add_flag("--profile", b.profile,
                    "Then take the time of each part of a step, and of what is not in kernels");
  command->add_flag("--json", flags->json, "One JSON object on stdout");
  command->add_option("--plot", flags->plot, "Write a picture of tokens/s (SVG)");
  command
      ->add_option("--save", flags->save,
                   "Write the synthetic model as a GGUF, for other programs, and measure nothing")
      ->type_name("FILE");
  command->add_option("--tokenizer", flags->write.tokenizer,
                      "With --save: take the vocabulary from this file or folder");
  command->add_flag("--resume", flags->write.resume, "With --save: continue an interrupted run");
  command->add_flag("--force", flags->write.force, "With --save: replace FILE");
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
