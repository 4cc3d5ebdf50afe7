#include "command_tree.h"

#include <fmt/format.h>

#include <algorithm>

namespace octet::app {
namespace {

// Completion menus show one line.
std::string FirstSentence(const std::string& text) {
  const size_t line = text.find('\n');
  const size_t stop = text.find(". ");
  std::string first = text.substr(0, std::min(line, stop));
  if (!first.empty() && first.back() == '.') first.pop_back();
  return first;
}

// CLI11 keeps the accepted values of CLI::IsMember only in the type's name: "TEXT:{f16,f32}".
std::vector<std::string> Choices(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{');
  const size_t close = type.find('}');
  if (open == std::string::npos || close == std::string::npos || close < open) return {};
  std::vector<std::string> choices =
      CLI::detail::split(type.substr(open + 1, close - open - 1), ',');
  for (std::string& choice : choices) {
    choice = choice.substr(0, choice.find("->"));  // CLI::Transformer's "from->to"
  }
  return choices;
}

size_t EditDistance(std::string_view a, std::string_view b) {
  // Rows of the dynamic programme: distance of a's first i letters to b's first j.
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, changed});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

CommandInfo DescribeCommand(const CLI::App& command) {
  CommandInfo info;
  info.name = command.get_name();
  info.description = FirstSentence(command.get_description());
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_group().empty()) continue;  // hidden
    if (option->get_positional() && !option->nonpositional()) {
      if (!info.takes_positionals) info.positional_choices = Choices(*option);
      info.takes_positionals = true;
      continue;
    }
    OptionInfo& added = info.options.emplace_back();
    for (const std::string& name : option->get_snames()) added.names.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) added.names.push_back("--" + name);
    added.description = FirstSentence(option->get_description());
    added.takes_value = option->get_items_expected_max() > 0;
    added.choices = Choices(*option);
  }
  return info;
}

std::vector<CommandInfo> DescribeCommands(const CLI::App& app) {
  std::vector<CommandInfo> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!command->get_group().empty()) commands.push_back(DescribeCommand(*command));
  }
  for (CommandInfo& command : commands) {
    if (command.name != "help") continue;
    for (const CommandInfo& other : commands) command.positional_choices.push_back(other.name);
  }
  return commands;
}

std::string Nearest(std::string_view word, std::span<const std::string> candidates) {
  std::string nearest;
  size_t least = std::max<size_t>(1, word.size() / 3) + 1;
  if (word.size() > 64) return nearest;
  for (const std::string& candidate : candidates) {
    const size_t distance = EditDistance(word, candidate);
    if (distance < least) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

Result<const CLI::App*> FindCommand(const CLI::App& app, const std::string& name) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == name) return command;
    names.push_back(command->get_name());
  }
  const std::string nearest = Nearest(name, names);
  return Err(ErrorCode::kInvalidArgument, "there is no command '{}'{}; `octet help` lists them all",
             name, nearest.empty() ? "" : fmt::format(" (did you mean '{}'?)", nearest));
}

std::string SuggestOption(const CLI::App& command, const std::string& typed) {
  std::vector<std::string> names;
  for (const OptionInfo& option : DescribeCommand(command).options) {
    names.insert(names.end(), option.names.begin(), option.names.end());
  }
  const std::string nearest = Nearest(typed.substr(0, typed.find('=')), names);
  return nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest);
}

}  // namespace octet::app
