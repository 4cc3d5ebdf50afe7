// `octet inspect MODEL`: what a model is, what it needs, what of it is missing.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>

#include "command.h"
#include "octet/inspect.h"
#include "octet/progress.h"

namespace octet::app {
namespace {

struct Options {
  InspectOptions inspect;
  bool json = false;
  bool summary = false;
};

template <class... Args>
void Line(std::string_view label, fmt::format_string<Args...> format, Args&&... args) {
  fmt::print("  {:<14}{}\n", label, fmt::format(format, std::forward<Args>(args)...));
}

std::string Billions(int64_t n) {
  return n >= 100'000'000 ? fmt::format("{:.1f} billion", static_cast<double>(n) / 1e9)
                          : fmt::format("{:.1f} million", static_cast<double>(n) / 1e6);
}

void PrintTensors(const ModelReport& report) {
  size_t width = 4;
  for (const TensorReport& tensor : report.tensors) width = std::max(width, tensor.name.size());
  width = std::min<size_t>(width, 64);
  for (const TensorReport& tensor : report.tensors) {
    const std::string shape = fmt::format("[{}]", fmt::join(tensor.shape, ", "));
    if (tensor.state == TensorState::kMissing) {
      fmt::print("{:<{}}  {:<6} {:<20} {:>12}\n", tensor.name, width, "-", shape, "missing");
    } else {
      fmt::print("{:<{}}  {:<6} {:<20} {:>12}{}{}\n", tensor.name, width, tensor.type, shape,
                 tensor.bytes, tensor.layout == "rows" ? "" : "  " + tensor.layout,
                 tensor.state == TensorState::kTruncated ? "  truncated" : "");
    }
  }
  if (!report.tensors.empty()) fmt::print("\n");
}

void PrintModel(const ModelReport& report) {
  fmt::print("{}: {}, {} layout\n", report.path, report.architecture, report.layout);
  if (!report.packed_for.empty()) Line("packed for", "{}", report.packed_for);
  Line("parameters", "{} ({})", report.parameters, Billions(report.parameters));
  Line("active", "{} ({}) for one token", report.active_parameters,
       Billions(report.active_parameters));
  Line("layers", "{}, width {}, feed-forward {}", report.n_layers, report.d_model, report.d_ff);
  if (report.n_experts > 0)
    Line("experts", "{}, {} for one token", report.n_experts, report.n_experts_per_token);
  Line("attention", "{} heads of {}, {} for keys and values, {}", report.n_heads, report.head_dim,
       report.n_kv_heads,
       report.sliding_window > 0 ? fmt::format("sliding window {}", report.sliding_window)
                                 : std::string("no sliding window"));
  Line("vocabulary", "{}{}", report.vocab_size,
       report.tied_embeddings ? ", input and output embeddings tied" : "");
  Line("context", "{} tokens, RoPE theta {}", report.trained_context, report.rope_theta);
}

void PrintFiles(const ModelReport& report) {
  const auto n_listed = static_cast<int64_t>(report.tensors.size()) - report.n_missing_tensors;
  if (n_listed == 0) {
    Line("weights", "none here; the figures come from the configuration");
  } else {
    Line("weights", "{} tensors, {}, mostly {}", n_listed, HumanBytes(report.tensor_bytes),
         report.main_type);
  }
  if (report.n_files > 0) {
    Line("on disk", "{} in {} file{}{}", HumanBytes(report.file_bytes), report.n_files,
         report.n_files == 1 ? "" : "s",
         report.disk_bytes < report.file_bytes / 100 * 99
             ? fmt::format(", of which {} are really there (sparse)", HumanBytes(report.disk_bytes))
             : "");
  }
  if (!report.missing_files.empty()) {
    Line("missing", "{} files: {}", report.missing_files.size(),
         fmt::join(report.missing_files, ", "));
  }
  if (report.n_missing_tensors > 0) Line("missing", "{} tensors", report.n_missing_tensors);
  if (report.n_truncated_tensors > 0)
    Line("truncated", "{} tensors end behind the end of their file", report.n_truncated_tensors);
  for (const std::string& skipped : report.skipped_tensors) Line("not read", "{}", skipped);
  for (const std::string& problem : report.problems) Line("wrong", "{}", problem);
}

void PrintTokenizer(const ModelReport& report) {
  if (report.tokenizer.empty()) {
    Line("tokenizer", "none ({})", report.tokenizer_error);
    return;
  }
  Line("tokenizer", "{}, {} tokens", report.tokenizer, report.tokenizer_vocab);
  Line("chat format", "{}{}", report.chat_format,
       report.has_chat_template ? "" : " (the model has no template)");
}

void PrintMemory(const ModelReport& report) {
  std::string types;
  for (const KvReport& kv : report.kv) {
    types += fmt::format("{}{} {}", types.empty() ? "" : ", ", kv.bytes_per_token, kv.type);
  }
  Line("KV cache", "bytes a token: {}", types);
  fmt::print(
      "\nMemory for a context of {} tokens: weights, {} of keys and values, about {} to "
      "work in.\nThis machine has {}.\n",
      report.context, HumanBytes(report.kv_bytes), HumanBytes(report.working_bytes),
      HumanBytes(report.machine_memory));
  fmt::print("  {:<8} {:>11} {:>12} {:>12}\n", "format", "bits/weight", "weights", "in all");
  for (const FormatReport& format : report.formats) {
    fmt::print("  {:<8} {:>11.2f} {:>12} {:>12}  {}{}\n", format.name, format.bits_per_weight,
               HumanBytes(format.weight_bytes), HumanBytes(format.memory_bytes),
               format.fits ? "fits" : "does not fit",
               format.n_kept_f16 > 0
                   ? fmt::format(" ({} matrices stay F16: their rows are no whole blocks)",
                                 format.n_kept_f16)
                   : "");
  }
}

Status Inspect(const Options& options) {
  OCTET_ASSIGN(const ModelReport report, InspectModel(options.inspect));
  if (options.json) {
    fmt::print("{}\n", ToJson(report));
    return {};
  }
  // The summary last: the list of tensors may be thousands of lines.
  if (!options.summary) PrintTensors(report);
  PrintModel(report);
  PrintFiles(report);
  PrintTokenizer(report);
  PrintMemory(report);
  return {};
}

}  // namespace

void Add_inspect(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "inspect", "Show what a model is, its tensors, what it needs and what of it is missing");
  auto options = std::make_shared<Options>();
  command
      ->add_option("model,-m,--model", options->inspect.model,
                   "A model folder or GGUF file; without it the model inside the program")
      ->type_name("MODEL");
  command
      ->add_option("--ctx", options->inspect.context,
                   "Context to plan memory for, in tokens (default: the model's own)")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  command->add_flag("--summary", options->summary, "Leave out the list of tensors");
  command->add_flag("--json", options->json, "Print one JSON object");
  OnRun(command, [options] { return Inspect(*options); });
}

}  // namespace octet::app
