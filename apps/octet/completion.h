// Shell completion scripts, written from the command line the program accepts.
#pragma once

#include <span>
#include <string>

#include "command_tree.h"

namespace octet::app {

/// To be sourced: `source <(octet completion bash)`. Files complete where no choice is known.
std::string BashCompletion(std::span<const CommandInfo> commands);
/// To be sourced after compinit, or saved as `_octet` in a folder of $fpath.
std::string ZshCompletion(std::span<const CommandInfo> commands);
/// To be sourced, or saved as ~/.config/fish/completions/octet.fish.
std::string FishCompletion(std::span<const CommandInfo> commands);

}  // namespace octet::app
