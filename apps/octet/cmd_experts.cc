// octet experts: which experts see which texts.
#include <fmt/format.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "octet/experts.h"
#include "terminal.h"

namespace octet::app {
namespace {

struct Flags {
  ExpertStudyOptions options;
  std::string plot;
  bool json = false, quiet = false;
};

std::string Table(const ExpertStudy& study) {
  std::string text;
  for (const ExpertDomain& domain : study.domains) {
    text +=
        fmt::format("{}: {} tokens, percent of them by expert\nlayer", domain.name, domain.tokens);
    for (int32_t e = 0; e < study.experts; ++e) text += fmt::format("{:>7}", e);
    text += "   same first  any in common\n";
    for (int32_t layer = 0; layer < study.layers; ++layer) {
      const size_t first = static_cast<size_t>(layer) * static_cast<size_t>(study.experts);
      text += fmt::format("{:>5}", layer);
      for (int32_t e = 0; e < study.experts; ++e) {
        const double share = domain.load[first + static_cast<size_t>(e)];
        text += fmt::format("{:>7.1f}", 100 * share);
      }
      const auto l = static_cast<size_t>(layer);
      text += fmt::format("{:>11.1f} %{:>13.1f} %\n", 100 * domain.same_first[l],
                          100 * domain.same_any[l]);
    }
  }
  return text + fmt::format("at random: {:.1f} % same first, {:.1f} % any in common\n",
                            100 * study.random_first, 100 * study.random_any);
}

std::string Json(const ExpertStudy& study) {
  nlohmann::ordered_json json = {{"layers", study.layers},
                                 {"experts", study.experts},
                                 {"experts_per_token", study.experts_per_token},
                                 {"random_first", study.random_first},
                                 {"random_any", study.random_any},
                                 {"texts", nlohmann::ordered_json::array()}};
  for (const ExpertDomain& domain : study.domains) {
    auto load = nlohmann::ordered_json::array();
    for (int32_t layer = 0; layer < study.layers; ++layer) {
      const auto first = domain.load.begin() + int64_t{layer} * study.experts;
      load.push_back(std::vector<double>(first, first + study.experts));
    }
    json["texts"].push_back({{"name", domain.name},
                             {"tokens", domain.tokens},
                             {"load", load},
                             {"same_first", domain.same_first},
                             {"same_any", domain.same_any}});
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Status Run(const Flags& flags) {
  OCTET_ASSIGN(const ExpertStudy study, StudyExperts(flags.options, [&](const std::string& text) {
                 if (!flags.quiet) fmt::print(stderr, "{}\n", text);
               }));
  OCTET_TRY(WriteOut(flags.json ? Json(study) : Table(study)));
  if (flags.plot.empty()) return {};
  std::ofstream out(flags.plot, std::ios::binary);
  out << ExpertStudySvg(study, "Experts by text");
  out.close();
  if (!out) return Err(ErrorCode::kIo, "cannot write {}", flags.plot);
  return {};
}

}  // namespace

void Add_experts(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  ExpertStudyOptions& o = flags->options;
  CLI::App* command = app.add_subcommand(
      "experts", "Which experts see which texts, and how often tokens in a row share one");
  command->add_option("texts", o.texts, "Texts to compare, of languages or topics")
      ->required()
      ->type_name("NAME=PATH");
  command
      ->add_option("-m,--model", o.model, "Model folder or GGUF file (default: the embedded model)")
      ->envname(kModelVariable);
  command->add_option("--max-tokens", o.max_tokens, "Tokens of each text; 0: all")
      ->capture_default_str();
  command->add_option("-c,--context", o.context, "Tokens of a window")->capture_default_str();
  command->add_option("--plot", flags->plot, "SVG to write");
  command->add_flag("--json", flags->json, "JSON instead of tables");
  command->add_option("-t,--threads", o.threads, "Threads (default: one a core)");
  command->add_flag("-q,--quiet", flags->quiet, "Do not name the texts");
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
