// What the program's command line accepts, read back from CLI11 for help and completion.
#pragma once

#include <CLI/CLI.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octet/error.h"

namespace octet::app {

struct OptionInfo {
  std::vector<std::string> names;  // as typed: "-m", "--model"
  std::string description;         // first sentence, one line
  bool takes_value = false;
  std::vector<std::string> choices;  // of the value, where only some are accepted
};

struct CommandInfo {
  std::string name;
  std::string description;  // first sentence, one line
  std::vector<OptionInfo> options;
  bool takes_positionals = false;
  std::vector<std::string> positional_choices;  // of the first positional; empty: any, or a file
};

/// The options of `command` alone: its subcommands are not looked into.
CommandInfo DescribeCommand(const CLI::App& command);

/// Every subcommand of `app`, in the order of the help.
std::vector<CommandInfo> DescribeCommands(const CLI::App& app);

/// The candidate that `word` most likely stands for: at most a third of its letters (at least one)
/// typed wrong, counted as edits with swaps of neighbours (Damerau 1964). Empty when there is none.
std::string Nearest(std::string_view word, std::span<const std::string> candidates);

/// The subcommand of that name, or an error that suggests the nearest one.
Result<const CLI::App*> FindCommand(const CLI::App& app, const std::string& name);

/// " (did you mean X?)" for an option that `command` does not have; empty when nothing is near.
std::string SuggestOption(const CLI::App& command, const std::string& typed);

}  // namespace octet::app
