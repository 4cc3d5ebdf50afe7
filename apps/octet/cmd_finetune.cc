// octet finetune: from a model to one that answers, or answers better.
#include <memory>

#include "command.h"
#include "train_command.h"

namespace octet::app {
namespace {

/// What a model that already knows its language wants: a small rate that falls to nothing, no pull
/// towards zero, and routers that stay as they are.
void SetDefaults(TrainOptions& o) {
  o.objective = "sft";
  o.steps = 500;
  o.context = 1024;
  o.batch_tokens = 4096;
  o.rate = 1e-4;
  o.final_rate = 0;
  o.warmup = 20;
  o.weight_decay = 0;
  o.balance = 0.001;
  o.router_z = 0;
  o.save_every = 100;
}

}  // namespace

void Add_finetune(CLI::App& app) {
  auto flags = std::make_shared<TrainFlags>();
  TrainOptions& options = flags->options;
  SetDefaults(options);
  flags->needs_model = true;
  CLI::App* command =
      app.add_subcommand("finetune", "Teach a model to answer, or to answer as preferred");
  AddRunFlags(*command, *flags);
  command
      ->add_option("-m,--model", options.model,
                   "The model to begin from (with --lora-rank: any type)")
      ->group("Model");
  command
      ->add_option("--objective", options.objective,
                   "sft learns chats; dpo, ipo, kto, orpo and simpo learn preferences")
      ->group("Objective");
  AddPreferenceFlags(*command, options);
  AddDataFlags(*command, options);
  AddAdapterFlags(*command, options);
  AddRouterFlags(*command, options);
  AddOptimiserFlags(*command, options);
  OnRun(command, [command, flags] { return RunTrainCommand(*command, *flags); });
}

}  // namespace octet::app
