// octet load: many chats at once for a server, timed.
#include <fmt/format.h>

#include <fstream>
#include <memory>

#include "command.h"
#include "octet/load.h"
#include "terminal.h"

namespace octet::app {
namespace {

struct Flags {
  LoadTestOptions options;
  std::string prompts, plot;
  bool json = false, quiet = false;
};

Status ReadPrompts(const std::string& path, std::vector<std::string>& prompts) {
  std::ifstream in(path);
  if (!in) return Err(ErrorCode::kNotFound, "cannot open the file of prompts {}", path);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) prompts.push_back(line);
  }
  if (!prompts.empty()) return {};
  return Err(ErrorCode::kInvalidArgument, "{} holds no prompt", path);
}

Status Run(Flags& flags) {
  if (!flags.prompts.empty()) OCTET_TRY(ReadPrompts(flags.prompts, flags.options.prompts));
  OCTET_ASSIGN(const LoadReport report, RunLoad(flags.options, [&](const std::string& text) {
                 if (!flags.quiet) fmt::print(stderr, "{}\n", text);
               }));
  OCTET_TRY(WriteOut(flags.json ? LoadReportJson(flags.options, report) : LoadReportText(report)));
  if (!flags.plot.empty()) {
    std::ofstream out(flags.plot, std::ios::binary);
    out << LoadReportSvg(flags.options, report);
    out.close();
    if (!out) return Err(ErrorCode::kIo, "cannot write {}", flags.plot);
  }
  if (report.error_count() == 0) return {};
  return Err(ErrorCode::kIo, "{} requests failed", report.error_count());
}

}  // namespace

void Add_load(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("load", "Ask a server for many chats at once, and time it");
  auto flags = std::make_shared<Flags>();
  LoadTestOptions& o = flags->options;
  command->add_option("url", o.url, "Address of the server (http://127.0.0.1:8080)");
  command->add_option("-c,--concurrent", o.concurrent, "Chats at once (32)");
  command->add_option("-s,--seconds", o.seconds, "How long (30)");
  command->add_option("--warm-up", o.warm_up_s, "Seconds before them that do not count (2)");
  command->add_option("-n,--max-tokens", o.max_tokens, "Tokens of an answer (128)");
  command->add_flag("!--stop-at-end", o.ignore_eos, "Answers may end before --max-tokens");
  command->add_option("--temp", o.temperature, "Temperature (0.8)");
  command->add_option("--prompts", flags->prompts, "A file with a prompt on each line");
  command->add_option("--model", o.model, "The model to ask for");
  command->add_option("--api-key", o.api_key, "Key of the server")->envname("OCTET_API_KEY");
  command->add_option("--timeout", o.timeout_s, "Seconds without a byte until an answer is lost");
  command->add_flag("--json", flags->json, "The results as JSON");
  command->add_option("--plot", flags->plot, "A picture of them, SVG");
  command->add_flag("-q,--quiet", flags->quiet, "Nothing on standard error while it runs");
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
