// `octet help [COMMAND]`: the same text as `octet [COMMAND] --help`.
#include <fmt/format.h>

#include <memory>
#include <string>

#include "command.h"
#include "command_tree.h"

namespace octet::app {

void Add_help(CLI::App& app) {
  CLI::App* command = app.add_subcommand("help", "Print help for the program or for one command");
  auto topic = std::make_shared<std::string>();
  command->add_option("command", *topic, "The command to explain");
  OnRun(command, [topic, &app]() -> Status {
    const CLI::App* found = &app;
    if (!topic->empty()) {
      OCTET_ASSIGN(found, FindCommand(app, *topic));
    }
    // Not found->help(): while `help` itself runs, CLI11 would explain `help`.
    const std::string name = topic->empty() ? "octet" : "octet " + *topic;
    fmt::print("{}", app.get_formatter()->make_help(found, name, CLI::AppFormatMode::Normal));
    return {};
  });
}

}  // namespace octet::app
