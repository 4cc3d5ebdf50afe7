// octet detokenize: token ids as text.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "command.h"
#include "octet/tokenizer.h"
#include "token_input.h"

namespace octet::app {
namespace {

struct Flags {
  std::string model;
  std::string ids;
  std::vector<std::string> words;
  bool json = false;
};

Result<std::vector<int32_t>> IdsOf(const Flags& flags) {
  if (!flags.ids.empty()) return ParseIds(flags.ids);
  if (flags.words.empty()) {
    OCTET_ASSIGN(const std::string text, ReadInput("-"));
    return ParseIds(text);
  }
  std::string joined;
  for (const std::string& word : flags.words) joined += word + " ";
  return ParseIds(joined);
}

Status Detokenize(const Flags& flags) {
  OCTET_ASSIGN(const ModelTokenizer tokenizer, ModelTokenizer::Load(flags.model));
  OCTET_ASSIGN(const std::vector<int32_t> ids, IdsOf(flags));
  OCTET_ASSIGN(const std::string text, tokenizer.Decode(ids));
  if (flags.json) {
    const nlohmann::ordered_json out = {{"count", ids.size()}, {"text", text}};
    fmt::print("{}\n", out.dump());
    return {};
  }
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
    return Err(ErrorCode::kIo, "cannot write to standard output");
  }
  // A pipe gets the text and nothing else; a person's prompt belongs on its own line.
  if (isatty(STDOUT_FILENO) != 0) std::fputc('\n', stdout);
  return {};
}

}  // namespace

void Add_detokenize(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("detokenize", "Show token ids as text");
  command
      ->add_option(
          "-m,--model", flags->model,
          "A model folder, a .gguf, a tokenizer.model or a tokenizer.json; without it, the "
          "model inside the program")
      ->envname(kModelVariable);
  auto* ids = command->add_option("--ids", flags->ids, "Ids separated by commas or spaces");
  command->add_option("id", flags->words, "The ids; without them, --ids or stdin")->excludes(ids);
  command->add_flag("--json", flags->json, "One JSON object");
  command->footer(
      "The text is written as it is; a line break is added on a terminal only.\n"
      "  octet detokenize -m mixtral.gguf 22557 1526\n"
      "  octet detokenize -m mixtral.gguf --ids 1,22557,1526\n");
  OnRun(command, [flags] { return Detokenize(*flags); });
}

}  // namespace octet::app
