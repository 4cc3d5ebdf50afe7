// octet quantize SRC DST: a checkpoint as a GGUF of block formats.
#include <fmt/format.h>

#include <map>
#include <memory>
#include <string>

#include "command.h"
#include "octet/quantize.h"
#include "stop_signal.h"

namespace octet::app {
namespace {

struct Flags {
  std::string source, destination;
  QuantizeOptions options;
  bool quiet = false;
};

std::string ShapeText(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string SizeText(uint64_t bytes) {
  const auto size = static_cast<double>(bytes);
  if (size < 1e6) return fmt::format("{:.1f} kB", size / 1e3);
  return size < 1e9 ? fmt::format("{:.1f} MB", size / 1e6) : fmt::format("{:.2f} GB", size / 1e9);
}

void PrintTensors(const QuantizeReport& report) {
  for (const QuantizedTensor& tensor : report.tensors) {
    fmt::print("{:<32} {:>20} {:>6} -> {:<6} {:>10}\n", tensor.name, ShapeText(tensor.shape),
               tensor.from, tensor.to, SizeText(tensor.bytes));
  }
}

void PrintSummary(const QuantizeReport& report, std::FILE* to) {
  std::map<std::string, std::pair<int, uint64_t>> formats;  // tensors, bytes
  for (const QuantizedTensor& tensor : report.tensors) {
    auto& [count, bytes] = formats[tensor.to];
    ++count;
    bytes += tensor.bytes;
  }
  for (const auto& [format, part] : formats) {
    fmt::print(to, "{:<6} {:>4} tensors {:>10}\n", format, part.first, SizeText(part.second));
  }
  fmt::print(to, "{} from {}, {:.2f} bits a weight\n", SizeText(report.bytes),
             SizeText(report.source_bytes),
             8.0 * static_cast<double>(report.bytes) / static_cast<double>(report.values));
}

Status Run(const Flags& flags) {
  QuantizeOptions options = flags.options;
  if (!options.dry_run && flags.destination.empty()) {
    return Err(ErrorCode::kInvalidArgument,
               "DST is missing: the GGUF to write; --dry-run only says what it would hold");
  }
  options.show_progress = !flags.quiet;
  options.stop = &StopOnSignal();
  OCTET_ASSIGN(const QuantizeReport report, Quantize(flags.source, flags.destination, options));
  for (const std::string& note : report.notes) fmt::print(stderr, "note: {}\n", note);
  if (options.dry_run) {
    PrintTensors(report);
    PrintSummary(report, stdout);
    return {};
  }
  for (const auto& file : report.written.files) fmt::print("{}\n", file.string());
  if (!flags.quiet) PrintSummary(report, stderr);
  return {};
}

void AddTypeFlags(CLI::App& command, QuantizeOptions& options) {
  command
      .add_option(
          "--type", options.type,
          fmt::format("Mix of formats (default q4_k_m): {}", fmt::join(QuantizeTypes(), ", ")))
      ->type_name("TYPE");
  command.add_option("--experts", options.experts, "Format of the experts' matrices, e.g. q3_k")
      ->type_name("FORMAT");
  command
      .add_option("--attention", options.attention, "Format of the attention matrices, e.g. q8_0")
      ->type_name("FORMAT");
  command
      .add_option("--override", options.overrides,
                  "Format of tensors whose GGUF name matches, e.g. 'blk\\.0\\.=q8_0'; repeatable")
      ->type_name("REGEX=FORMAT");
  command
      .add_option("--imatrix", options.imatrix,
                  "Importance matrix of octet imatrix (or llama.cpp): bits go where they matter")
      ->type_name("FILE");
  command.add_flag("--dry-run", options.dry_run,
                   "Only list the tensors, their formats and the size");
}

}  // namespace

void Add_quantize(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      app.add_subcommand("quantize", "Write a model as a smaller GGUF of quantised weights");
  command->add_option("source", flags->source, "Model to read: a folder, a GGUF file")
      ->required()
      ->type_name("SRC");
  command->add_option("destination", flags->destination, "GGUF to write")->type_name("DST");
  AddTypeFlags(*command, flags->options);
  command->add_option("--tokenizer", flags->options.tokenizer,
                      "Take the tokenizer from this file or folder instead of the source");
  command
      ->add_option("--split-max-size", flags->options.max_part_bytes,
                   "Split the GGUF into parts of at most this size")
      ->transform(CLI::AsSizeValue(true))
      ->type_name("SIZE");
  command->add_flag("--resume", flags->options.resume, "Continue an interrupted run");
  command->add_flag("--force", flags->options.force,
                    "Replace DST, and start over what was interrupted");
  command->add_option("-t,--threads", flags->options.threads, "Threads (default: one a core)");
  command->add_flag("-q,--quiet", flags->quiet, "No progress, only the names of the files");
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
