// Options of a command from a TOML file: every option by its long name.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "octet/error.h"

namespace octet::app {

/// Sets the options that the command line did not. Keys are the long names without dashes; tables
/// only group them. kInvalidArgument for an unknown key (naming the nearest) or a value that does
/// not fit, kNotFound for an absent file.
Status ApplyConfigFile(CLI::App& command, const std::string& path);

}  // namespace octet::app
