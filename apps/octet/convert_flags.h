// What the commands that write a whole model share: where to, in which layout and type, and how the
// result is told.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "octet/convert.h"

namespace octet::app {

struct ConvertFlags {
  std::string source, destination, to, type;
  ConvertOptions options;
  bool quiet = false;
};

/// Adds SRC, DST and the options of writing to the command.
void AddConvertFlags(CLI::App* command, ConvertFlags& flags);
/// The options that the flags ask for, with progress and Ctrl-C.
Result<ConvertOptions> ReadConvertFlags(const ConvertFlags& flags);
/// Names of the files on stdout, notes and sizes on stderr.
void PrintReport(const ConvertReport& report, bool quiet);

}  // namespace octet::app
