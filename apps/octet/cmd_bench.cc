// octet bench: how fast a model runs here, and how much of the machine that uses.
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <memory>

#include "command.h"
#include "octet/bench.h"
#include "stop_signal.h"

namespace octet::app {
namespace {

struct Flags {
  BenchOptions bench;
  bool json = false;
  std::string plot;
  std::string save;  // where to write the synthetic model, instead of measuring
  ConvertOptions write;
};

void PrintTable(const BenchReport& r) {
  fmt::print("{}\n", r.model);
  fmt::print("{} layers, {:.2f} B parameters ({:.2f} B active), {:.2f} GB of weights, {}\n",
             r.layers, r.parameters / 1e9, r.active_parameters / 1e9, r.weight_bytes / 1e9,
             r.layout);
  fmt::print("{} threads, {}; load {:.2f} s, packing {:.2f} s, peak memory {:.2f} GB\n", r.threads,
             r.isa, r.load_s, r.pack_s, r.peak_memory_bytes / 1e9);
  fmt::print("measured beside: memory read limit {:.1f} GB/s", r.read_limit_bytes_per_s / 1e9);
  for (const BenchPeak& peak : r.peaks)
    fmt::print("; {} {:.2f} TOP/s", peak.name, peak.ops_per_s / 1e12);
  fmt::print("\n\n{:<16}{:>10}  {:<22}{:>9}{:>8}{:>8}{:>10}  {}\n", "", "tok/s",
             "step ms (min…max)", "reads GB", "GB/s", "share", "TFLOP/s",
             "of peak, of peak with loads");
  for (const BenchFigure& f : r.figures) {
    const std::string step =
        fmt::format("{:.2f} ({:.2f}…{:.2f})", f.median_s * 1e3, f.min_s * 1e3, f.max_s * 1e3);
    fmt::print("{:<16}{:>10.2f}  {:<22}{:>9.3f}{:>8.1f}{:>7.0f}%{:>10.3f}{:>7.0f}%{:>6.0f}%\n",
               f.name, f.tokens_per_s, step, static_cast<double>(f.weight_bytes + f.kv_bytes) / 1e9,
               f.read_bytes_per_s / 1e9, f.read_share * 100, f.flops_per_s / 1e12,
               f.peak_share * 100, f.loaded_peak_share * 100);
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
  OCTET_ASSIGN(const BenchReport report,
               RunBench(flags.bench, [&](const std::string& what, int64_t done, int64_t total) {
                 if (terminal) fmt::print(stderr, "\r\x1b[K{}/{} {}", done, total, what);
               }));
  if (terminal) fmt::print(stderr, "\r\x1b[K");
  if (flags.json) {
    fmt::print("{}\n", BenchJson(report));
  } else {
    PrintTable(report);
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
  command->add_option("-m,--model", b.model,
                      "Folder or GGUF file; without it the model inside the program");
  command->add_option("--synthetic", b.synthetic,
                      "Random weights in the shape of mixtral-8x7b, mixtral-8x22b, mistral-7b, "
                      "llama-2-70b, or tiny-moe (a toy)");
  command->add_option("--layers", b.layers, "Layers of the synthetic model; 0: all");
  command->add_option("--type", b.type, "Quantisation of the synthetic model")
      ->capture_default_str();
  command->add_option("-p,--prompts", b.prompts, "Prompt lengths")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("-d,--depths", b.depths, "Depths to decode one token at")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("-b,--batches", b.batches, "Sequences decoding together")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("-r,--repetitions", b.repetitions, "Rounds over all of them")
      ->capture_default_str();
  command->add_option("--kv-type", b.kv_type, "Keys and values: f16, f32, bf16 or q8_0")
      ->capture_default_str();
  command->add_option("--arithmetic", b.arithmetic, "fast, or float32")->capture_default_str();
  command->add_option("-t,--threads", b.threads, "Threads (default: one a physical core)");
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
