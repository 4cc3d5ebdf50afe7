// The program: one subcommand a file (cmd_*.cc), found by the build.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <optional>

#include "command.h"
#include "octet/version.h"

#define OCTET_COMMAND(name)       \
  namespace octet::app {          \
  void Add_##name(CLI::App& app); \
  }
#include "command_list.inc"
#undef OCTET_COMMAND

namespace octet::app {
namespace {

std::optional<Status> outcome;  // of the subcommand that ran

int Main(int argc, char** argv) {
  CLI::App app{"Octet: run, serve, quantise, train and evaluate Mixtral-family models on CPUs",
               "octet"};
  app.set_version_flag("--version", std::string("octet ") + kVersion);
  app.require_subcommand(1);
#define OCTET_COMMAND(name) Add_##name(app);
#include "command_list.inc"
#undef OCTET_COMMAND
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  if (outcome && !*outcome) {
    const Error& error = outcome->error();
    fmt::print(stderr, "octet: error: {}\n", error.message);
    return error.code == ErrorCode::kCancelled ? kExitInterrupted : kExitError;
  }
  return kExitOk;
}

}  // namespace

void OnRun(CLI::App* command, Action action) {
  command->callback([action = std::move(action)] { outcome = action(); });
}

}  // namespace octet::app

int main(int argc, char** argv) {
  try {
    return octet::app::Main(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "octet: internal error: {}\nThis is a bug in Octet, please report it.\n",
               error.what());
    return octet::app::kExitError;
  }
}
