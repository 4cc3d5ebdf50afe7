// octet convert SRC DST: a checkpoint in another form.
#include <fmt/format.h>

#include <map>
#include <string>

#include "command.h"
#include "octet/convert.h"
#include "stop_signal.h"

namespace octet::app {
namespace {

struct Flags {
  std::string source, destination, to, type;
  ConvertOptions options;
  bool quiet = false;
};

Status Run(const Flags& flags) {
  ConvertOptions options = flags.options;
  if (flags.to == "gguf") options.target = ConvertTarget::kGguf;
  if (flags.to == "hf") options.target = ConvertTarget::kHuggingFace;
  if (!flags.type.empty()) {
    OCTET_ASSIGN(options.type, ConvertTypeFromName(flags.type));
  }
  options.show_progress = !flags.quiet;
  options.stop = &StopOnSignal();
  OCTET_ASSIGN(const ConvertReport report, Convert(flags.source, flags.destination, options));
  for (const std::string& note : report.notes) fmt::print(stderr, "note: {}\n", note);
  for (const auto& file : report.files) fmt::print("{}\n", file.string());
  if (!flags.quiet) {
    fmt::print(stderr, "{} tensors, {:.1f} MB\n", report.tensors,
               static_cast<double>(report.bytes) / 1e6);
  }
  return {};
}

}  // namespace

void Add_convert(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      app.add_subcommand("convert", "Write a model as GGUF or as a Hugging Face folder");
  command->add_option("source", flags->source, "Model to read: a folder, a GGUF file")
      ->required()
      ->type_name("SRC");
  command
      ->add_option("destination", flags->destination,
                   "What to write: NAME.gguf, or a folder for the Hugging Face layout")
      ->required()
      ->type_name("DST");
  command->add_option("--to", flags->to, "Layout to write, when DST's name does not tell")
      ->check(CLI::IsMember({"gguf", "hf"}))
      ->type_name("LAYOUT");
  command
      ->add_option("--type", flags->type,
                   "Type of the matrices: keep (default), f32, f16, bf16, q8_0")
      ->check(CLI::IsMember({"keep", "f32", "f16", "bf16", "q8_0"}))
      ->type_name("TYPE");
  command->add_option("--tokenizer", flags->options.tokenizer,
                      "Take the tokenizer from this file or folder instead of the source");
  command
      ->add_option("--max-shard-size", flags->options.max_shard_bytes,
                   "Largest safetensors file, e.g. 5GB (default)")
      ->transform(CLI::AsSizeValue(true))
      ->type_name("SIZE");
  command
      ->add_option("--split-max-size", flags->options.max_part_bytes,
                   "Split a GGUF into parts of at most this size")
      ->transform(CLI::AsSizeValue(true))
      ->type_name("SIZE");
  command->add_flag("--resume", flags->options.resume, "Continue an interrupted conversion");
  command->add_flag("--force", flags->options.force,
                    "Replace DST, and start over what was interrupted");
  command->add_option("--threads", flags->options.threads, "Threads (default: one a core)");
  command->add_flag("-q,--quiet", flags->quiet, "No progress, only the names of the files");
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
