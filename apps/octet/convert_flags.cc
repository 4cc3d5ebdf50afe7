#include "convert_flags.h"

#include <fmt/format.h>

#include "stop_signal.h"

namespace octet::app {

void AddConvertFlags(CLI::App* command, ConvertFlags& flags) {
  command->add_option("source", flags.source, "Model to read: a folder, a GGUF file")
      ->required()
      ->type_name("SRC");
  command
      ->add_option("destination", flags.destination,
                   "What to write: NAME.gguf, or a folder for the Hugging Face layout")
      ->required()
      ->type_name("DST");
  command->add_option("--to", flags.to, "Layout to write, when DST's name does not tell")
      ->check(CLI::IsMember({"gguf", "hf"}))
      ->type_name("LAYOUT");
  command
      ->add_option("--type", flags.type,
                   "Type of the matrices: keep (default), f32, f16, bf16, q8_0")
      ->check(CLI::IsMember({"keep", "f32", "f16", "bf16", "q8_0"}))
      ->type_name("TYPE");
  command
      ->add_option("--kv-heads", flags.options.kv_heads,
                   "Key/value heads of the result, a divisor of the source's: means of neighbours")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  command->add_option("--tokenizer", flags.options.tokenizer,
                      "Take the tokenizer from this file or folder instead of the source");
  command
      ->add_option("--max-shard-size", flags.options.max_shard_bytes,
                   "Largest safetensors file, e.g. 5GB (default)")
      ->transform(CLI::AsSizeValue(true))
      ->type_name("SIZE");
  command
      ->add_option("--split-max-size", flags.options.max_part_bytes,
                   "Split a GGUF into parts of at most this size")
      ->transform(CLI::AsSizeValue(true))
      ->type_name("SIZE");
  command->add_flag("--resume", flags.options.resume, "Continue what was interrupted");
  command->add_flag("--force", flags.options.force,
                    "Replace DST, and start over what was interrupted");
  command->add_option("-t,--threads", flags.options.threads, "Threads (default: one a core)");
  command->add_flag("-q,--quiet", flags.quiet, "No progress, only the names of the files");
}

Result<ConvertOptions> ReadConvertFlags(const ConvertFlags& flags) {
  ConvertOptions options = flags.options;
  if (flags.to == "gguf") options.target = ConvertTarget::kGguf;
  if (flags.to == "hf") options.target = ConvertTarget::kHuggingFace;
  if (!flags.type.empty()) {
    OCTET_ASSIGN(options.type, ConvertTypeFromName(flags.type));
  }
  options.show_progress = !flags.quiet;
  options.stop = &StopOnSignal();
  return options;
}

void PrintReport(const ConvertReport& report, bool quiet) {
  for (const std::string& note : report.notes) fmt::print(stderr, "note: {}\n", note);
  for (const auto& file : report.files) fmt::print("{}\n", file.string());
  if (quiet) return;
  fmt::print(stderr, "{} tensors, {:.1f} MB\n", report.tensors,
             static_cast<double>(report.bytes) / 1e6);
}

}  // namespace octet::app
