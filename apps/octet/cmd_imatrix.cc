// octet imatrix: what a model's matrices meet on a text, for octet quantize --imatrix.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "heat_map.h"
#include "octet/imatrix.h"
#include "octet/progress.h"
#include "stop_signal.h"
#include "terminal.h"

namespace octet::app {
namespace {

struct Flags {
  ImatrixOptions options;
  std::string plot;
  bool json = false;
  bool quiet = false;
};

int64_t At(const ImatrixReport& report, int64_t layer, int64_t expert) {
  return report.expert_tokens[static_cast<size_t>(layer * report.experts + expert)];
}

/// Layers down, experts across; experts with fewer tokens than wanted get a star.
std::string Table(const ImatrixReport& report, int64_t wanted) {
  std::string text = "tokens seen by each expert\nlayer";
  for (int32_t e = 0; e < report.experts; ++e) text += fmt::format("{:>9}", e);
  for (int32_t layer = 0; layer < report.layers; ++layer) {
    text += fmt::format("\n{:>5}", layer);
    for (int32_t e = 0; e < report.experts; ++e) {
      const int64_t tokens = At(report, layer, e);
      text += fmt::format("{:>8}{}", tokens, tokens < wanted ? '*' : ' ');
    }
    text.erase(text.find_last_not_of(' ') + 1);
  }
  return text + "\n";
}

std::string Json(const ImatrixReport& report, const ImatrixOptions& options) {
  auto layers = nlohmann::ordered_json::array();
  for (int32_t layer = 0; layer < report.layers && report.experts > 0; ++layer) {
    auto row = nlohmann::ordered_json::array();
    for (int32_t e = 0; e < report.experts; ++e) row.push_back(At(report, layer, e));
    layers.push_back(std::move(row));
  }
  const nlohmann::ordered_json json = {{"file", options.out.string()},
                                       {"tokens", report.tokens},
                                       {"text_tokens", report.text_tokens},
                                       {"layers", report.layers},
                                       {"experts", report.experts},
                                       {"expert_tokens", layers},
                                       {"notes", report.notes},
                                       {"stopped", report.stopped},
                                       {"seconds", report.seconds}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Status WritePlot(const std::string& path, const ImatrixReport& report, int64_t wanted) {
  if (report.experts == 0) {
    return Err(ErrorCode::kInvalidArgument, "--plot: a dense model has no experts to show");
  }
  std::ofstream out(path, std::ios::binary);
  out << HeatMapSvg(
      {"Tokens seen by each expert", report.layers, report.experts, report.expert_tokens, wanted});
  out.close();
  if (!out) return Err(ErrorCode::kIo, "cannot write {}", path);
  return {};
}

Status Run(const Flags& flags) {
  ImatrixOptions options = flags.options;
  options.stop = &StopOnSignal();
  std::unique_ptr<Progress> bar;
  const auto progress = [&](int64_t tokens, int64_t total, int64_t least) {
    if (!bar)
      bar = std::make_unique<Progress>("imatrix", static_cast<uint64_t>(total),
                                       Progress::Unit::kCount, !flags.quiet);
    bar->Update(static_cast<uint64_t>(tokens),
                fmt::format("tokens, {} through the rarest expert", least));
  };
  OCTET_ASSIGN(const ImatrixReport report, CollectImatrix(options, progress));
  if (bar) bar->Finish("tokens");
  for (const std::string& note : report.notes) fmt::print(stderr, "note: {}\n", note);
  const int64_t wanted = std::max<int64_t>(options.min_tokens_per_expert, 1);
  if (flags.json) {
    OCTET_TRY(WriteOut(Json(report, options)));
  } else if (report.experts > 0) {
    OCTET_TRY(WriteOut(Table(report, wanted)));
  }
  if (!flags.plot.empty()) OCTET_TRY(WritePlot(flags.plot, report, wanted));
  if (!flags.quiet) {
    fmt::print(stderr, "{} of {} tokens in {:.1f} s{}\n", report.tokens, report.text_tokens,
               report.seconds, options.out.empty() ? "" : ", written to " + options.out.string());
  }
  if (report.stopped) {
    return Err(ErrorCode::kCancelled, "stopped; what is done is kept, --resume continues it");
  }
  return {};
}

}  // namespace

void Add_imatrix(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  flags->options.out = "imatrix.gguf";
  CLI::App* command = app.add_subcommand(
      "imatrix", "Learn from a text which weights matter, for octet quantize --imatrix");
  ImatrixOptions& o = flags->options;
  command
      ->add_option("-m,--model", o.model, "Model folder or GGUF file (default: the embedded model)")
      ->envname(kModelVariable);
  command->add_option("-f,--file", o.texts, "UTF-8 text; repeatable")
      ->required()
      ->allow_extra_args(false);
  command->add_option("-o,--output", o.out, "GGUF to write (default imatrix.gguf)");
  command
      ->add_option("--min-tokens-per-expert", o.min_tokens_per_expert,
                   "End once every expert of every layer has seen so many; 0: at the text's end")
      ->type_name("N");
  command->add_option("--max-tokens", o.max_tokens, "Tokens of text at most; 0: all")
      ->type_name("N");
  command->add_option(
      "-c,--ctx", o.context,
      "Tokens computed together (default: 512, or the model's context if that is less)");
  command
      ->add_option("--arithmetic", o.arithmetic,
                   "fast, or float32: weights decoded, everything in float")
      ->check(CLI::IsMember({"float32", "fast"}))
      ->capture_default_str();
  command->add_option("-t,--threads", o.threads, "Threads (default: one a physical core)");
  command->add_flag("--resume", o.resume, "Go on from the output of an interrupted run");
  command->add_flag("--force", o.force, "Replace the output");
  command->add_option("--plot", flags->plot, "Write a picture of tokens by expert (SVG)");
  command->add_flag("--json", flags->json, "One JSON object on stdout instead of the table");
  command->add_flag("-q,--quiet", flags->quiet, "No progress");
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
