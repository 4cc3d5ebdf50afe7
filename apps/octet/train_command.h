// What `octet train` and `octet finetune` have in common: options, the loop, the line of progress.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "octet/train.h"

namespace octet::app {

struct TrainFlags {
  TrainOptions options;
  std::string config;
  int64_t log_every = 10;
  bool quiet = false;
  bool needs_model = false;  // to begin from
};

void AddShapeFlags(CLI::App& command, TrainOptions& options);
void AddDataFlags(CLI::App& command, TrainOptions& options);
void AddAdapterFlags(CLI::App& command, TrainOptions& options);
void AddRouterFlags(CLI::App& command, TrainOptions& options);
/// All of objectives but its name.
void AddPreferenceFlags(CLI::App& command, TrainOptions& options);
void AddOptimiserFlags(CLI::App& command, TrainOptions& options);
void AddRunFlags(CLI::App& command, TrainFlags& flags);

/// Reads the configuration file, trains, tells how it goes, prints the last checkpoint's folder.
Status RunTrainCommand(CLI::App& command, TrainFlags& flags);

}  // namespace octet::app
