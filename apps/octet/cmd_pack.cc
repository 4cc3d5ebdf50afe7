// octet pack SRC DST: a model in the order this machine's kernels read, for starting at once.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <string>

#include "command.h"
#include "octet/pack.h"
#include "octet/quantize.h"
#include "stop_signal.h"

namespace octet::app {
namespace {

struct Flags {
  std::string source, destination;
  PackOptions options;
  bool quiet = false;
};

Status Run(const Flags& flags) {
  PackOptions options = flags.options;
  options.show_progress = !flags.quiet;
  options.stop = &StopOnSignal();
  OCTET_ASSIGN(const PackReport report, PackModel(flags.source, flags.destination, options));
  for (const std::string& note : report.written.notes) fmt::print(stderr, "note: {}\n", note);
  if (!flags.quiet) fmt::print(stderr, "packed for {}\n", report.packed_for);
  for (const auto& file : report.written.files) fmt::print("{}\n", file.string());
  return {};
}

}  // namespace

void Add_pack(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "pack", "Write a model in this machine's order of weights, so that it starts at once");
  command->add_option("source", flags->source, "Model to read: a folder, a GGUF file")
      ->required()
      ->type_name("SRC");
  command->add_option("destination", flags->destination, "File to write, for Octet only")
      ->required()
      ->type_name("DST");
  command
      ->add_option(
          "--type", flags->options.type,
          fmt::format("Quantise first (default: as stored): {}", fmt::join(QuantizeTypes(), ", ")))
      ->type_name("TYPE");
  command->add_option("--tokenizer", flags->options.tokenizer,
                      "Take the tokenizer from this file or folder instead of the source");
  command->add_flag("--resume", flags->options.resume, "Continue an interrupted run");
  command->add_flag("--force", flags->options.force,
                    "Replace DST, and start over what was interrupted");
  command->add_option("-t,--threads", flags->options.threads, "Threads (default: one a core)");
  command->add_flag("-q,--quiet", flags->quiet, "No progress, only the name of the file");
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
