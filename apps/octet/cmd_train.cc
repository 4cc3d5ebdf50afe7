// octet train: a model from text, or any of what finetune does, with every option.
#include <memory>

#include "command.h"
#include "train_command.h"

namespace octet::app {

void Add_train(CLI::App& app) {
  auto flags = std::make_shared<TrainFlags>();
  TrainOptions& options = flags->options;
  CLI::App* command = app.add_subcommand("train", "Train a model on text, chats or preferences");
  AddRunFlags(*command, *flags);
  command
      ->add_option("-m,--model", options.model,
                   "Checkpoint to begin from; without it, random weights")
      ->group("Model");
  AddShapeFlags(*command, options);
  AddDataFlags(*command, options);
  AddAdapterFlags(*command, options);
  command->add_option("--objective", options.objective, "tokens, dpo, ipo, kto, orpo or simpo")
      ->group("Objective");
  AddPreferenceFlags(*command, options);
  AddRouterFlags(*command, options);
  AddOptimiserFlags(*command, options);
  OnRun(command, [command, flags] { return RunTrainCommand(*command, *flags); });
}

}  // namespace octet::app
