// octet merge: adapters folded into the weights they stand beside.
#include "octet/merge.h"

#include <fmt/format.h>

#include <memory>
#include <string>

#include "command.h"

namespace octet::app {
namespace {

struct Flags {
  std::string model, adapter, destination;
  MergeOptions options;
};

Status Run(const Flags& flags) {
  OCTET_TRY(MergeAdapter(flags.model, flags.adapter, flags.destination, flags.options));
  fmt::print("{}\n", flags.destination);
  return {};
}

}  // namespace

void Add_merge(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("merge", "Fold an adapter into a model's weights");
  command->add_option("model", flags->model, "Model the adapter is for")
      ->required()
      ->type_name("MODEL");
  command->add_option("adapter", flags->adapter, "Folder of the adapter: PEFT's or Mistral's")
      ->required()
      ->type_name("ADAPTER");
  command->add_option("destination", flags->destination, "Hugging Face folder to write, float32")
      ->required()
      ->type_name("DST");
  command->add_option("--scale", flags->options.scale, "Multiplies what was trained (default 1)");
  command->add_flag("--force", flags->options.force, "Replace DST");
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
