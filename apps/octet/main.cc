// The program: one subcommand a file (cmd_*.cc), found by the build.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include "command.h"
#include "command_tree.h"
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

int Fail(std::string_view message, int code) {
  fmt::print(stderr, "octet: error: {}\n", message);
  return code;
}

// CLI11 knows only that a word was not expected; a person wants to know which was meant.
int FailUsage(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  const CLI::App& command = chosen.empty() ? app : *chosen.front();
  std::string message = error.what();
  for (const std::string& word : command.remaining()) {
    if (word.size() < 2 || word.front() != '-') continue;
    message = fmt::format("there is no option {}{}", word, SuggestOption(command, word));
    break;
  }
  const std::string help = chosen.empty() ? "octet help" : "octet help " + command.get_name();
  return Fail(fmt::format("{}\nTry `{}`", message, help), kExitUsage);
}

void SetUpHelp(CLI::App& app) {
  app.set_version_flag("--version", std::string("octet ") + kVersion, "Print the version");
  app.set_help_flag("-h,--help", "Print this help");
  app.get_formatter()->label("SUBCOMMAND", "COMMAND");
  app.get_formatter()->label("OPTIONS", "options");
}

// After the commands are there, or each would take over the footer.
void FinishHelp(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    command->group("Commands");
  }
  app.footer("`octet help COMMAND` explains one. Without -m, the model inside the program runs.\n");
}

int Main(int argc, char** argv) {
  CLI::App app{"Octet: run, serve, quantise, train and evaluate Mixtral-family models on CPUs",
               "octet"};
  SetUpHelp(app);
  app.require_subcommand(1);
#define OCTET_COMMAND(name) Add_##name(app);
#include "command_list.inc"
#undef OCTET_COMMAND
  FinishHelp(app);
  if (argc < 2) {
    fmt::print(stderr, "{}", app.help());
    return kExitUsage;
  }
  if (argv[1][0] != '-') {
    if (auto command = FindCommand(app, argv[1]); !command) {
      return Fail(command.error().message, kExitUsage);
    }
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return FailUsage(app, error);
    return app.exit(error);  // --help, --version
  }
  if (outcome && !*outcome) {
    const Error& error = outcome->error();
    return Fail(error.message, error.code == ErrorCode::kCancelled ? kExitInterrupted : kExitError);
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
