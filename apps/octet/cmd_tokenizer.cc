// octet tokenizer train: a vocabulary from text.
#include <fmt/format.h>

#include <memory>
#include <string>

#include "command.h"
#include "octet/train_tokenizer.h"

namespace octet::app {
namespace {

struct Flags {
  std::string action;
  TrainTokenizerOptions options;
  std::string output = "tokenizer.model";
};

Status Run(const Flags& flags) {
  OCTET_TRY(TrainTokenizer(flags.options, flags.output));
  fmt::print("{}\n", flags.output);
  return {};
}

}  // namespace

void Add_tokenizer(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "tokenizer", "Make a vocabulary from text (octet tokenizer train FILE...)");
  command->add_option("action", flags->action, "What to do: train")
      ->required()
      ->check(CLI::IsMember({"train"}));
  command->add_option("files", flags->options.files, "Text (.txt, .txt.gz) or JSONL")
      ->required()
      ->type_name("FILE");
  command->add_option("-o,--output", flags->output, "The model to write (default tokenizer.model)");
  command->add_option("--vocab-size", flags->options.vocab_size, "Tokens in all (default 8192)");
  command->add_option("--coverage", flags->options.coverage,
                      "Share of characters with a token of their own; others are bytes");
  command
      ->add_option("--reserve", flags->options.reserved,
                   "Tokens that no text yields, for chats (default [INST] [/INST])")
      ->delimiter(',');
  command
      ->add_option("--max-bytes", flags->options.max_bytes,
                   "Take every n-th line of longer text, up to this size")
      ->transform(CLI::AsSizeValue(true))
      ->type_name("SIZE");
  command->add_option("-t,--threads", flags->options.threads, "Threads (default: one a core)");
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
