// What a command is: a file cmd_NAME.cc that defines Add_NAME. CMake finds the file and main.cc
// calls it.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "octet/error.h"

namespace octet::app {

/// Process exit codes, the same for every command.
enum ExitCode : int {
  kExitOk = 0,
  kExitError = 1,  // the input could not be handled; the message is on stderr
  kExitUsage = 2,  // the command line makes no sense
  kExitInterrupted = 130,
};

/// Names the model of commands that are given none with -m.
inline constexpr char kModelVariable[] = "OCTET_MODEL";

/// Registers the subcommand's work; its Status becomes the exit code and the message on stderr.
using Action = std::function<Status()>;
void OnRun(CLI::App* command, Action action);

}  // namespace octet::app
