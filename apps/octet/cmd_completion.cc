// `octet completion SHELL`: a script that makes the shell complete Octet's commands and options.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "completion.h"

namespace octet::app {

void Add_completion(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("completion", "Print a completion script for bash, zsh or fish");
  command->footer(
      "Try it:   source <(octet completion bash)\n"
      "Keep it:  octet completion bash > ~/.local/share/bash-completion/completions/octet\n"
      "          octet completion zsh > ~/.zfunc/_octet     (a folder of $fpath)\n"
      "          octet completion fish > ~/.config/fish/completions/octet.fish\n");
  auto shell = std::make_shared<std::string>();
  command->add_option("shell", *shell, "The shell that will read it")
      ->required()
      ->check(CLI::IsMember(std::vector<std::string>{"bash", "zsh", "fish"}));
  OnRun(command, [shell, &app]() -> Status {
    const std::vector<CommandInfo> commands = DescribeCommands(app);
    fmt::print("{}", *shell == "bash"  ? BashCompletion(commands)
                     : *shell == "zsh" ? ZshCompletion(commands)
                                       : FishCompletion(commands));
    return {};
  });
}

}  // namespace octet::app
