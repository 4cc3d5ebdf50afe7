// The flags that `run` and `chat` share: which model, and how to choose tokens.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octet/engine.h"

namespace octet::app {

struct GenerateFlags {
  LoadOptions load;
  GenerateOptions generate;
  std::optional<uint64_t> seed;
  std::vector<std::string> logit_bias;  // "ID=VALUE"
  std::string grammar, json_schema;     // files
  bool json_object = false;
};

/// -m, --lora, --threads, --ctx, --kv-type, --arithmetic, --batch, --speculate, --draft,
/// --draft-max.
void AddLoadFlags(CLI::App& command, LoadOptions& load);
/// -n, --temp and the other samplers, --seed, --stop, --grammar, --json-schema, --json-object.
void AddGenerateFlags(CLI::App& command, GenerateFlags& flags);
/// Fills in what flags only describe: a random seed when none was given, the parsed biases, the
/// content of the grammar's file.
Status FinishFlags(GenerateFlags& flags);
/// Loads with a progress bar where that takes long.
Result<LanguageModel> LoadWithProgress(LoadOptions load);
/// "octet: warning: …" on stderr.
void Warn(std::string_view message);
/// Warns of what a person who loaded this model may not expect.
void WarnOfModel(const ModelInfo& info);

}  // namespace octet::app
