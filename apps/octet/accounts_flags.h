// What the commands about accounts have in common.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace octet::app {

/// --accounts FILE, or the variable OCTET_ACCOUNTS, which `octet serve` reads too.
inline void AddAccountsFlag(CLI::App& command, std::string& path) {
  command.add_option("--accounts", path, "The accounts file, as octet serve has it")
      ->required()
      ->type_name("FILE")
      ->envname("OCTET_ACCOUNTS");
}

}  // namespace octet::app
