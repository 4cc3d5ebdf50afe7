#include "completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

namespace octet::app {
namespace {

std::string Join(std::span<const std::string> words, std::string_view separator = " ") {
  return fmt::format("{}", fmt::join(words, separator));
}

std::vector<std::string> Names(std::span<const CommandInfo> commands) {
  std::vector<std::string> names;
  for (const CommandInfo& command : commands) names.push_back(command.name);
  return names;
}

std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// For single-quoted words of sh and zsh; fish escapes with a backslash instead.
std::string ShellQuoted(const std::string& text) { return Replaced(text, "'", "'\\''"); }
std::string FishQuoted(const std::string& text) {
  return Replaced(Replaced(text, "\\", "\\\\"), "'", "\\'");
}

// One `case "$previous"` branch an option that takes a value: its choices, or files.
std::string BashValues(const CommandInfo& command) {
  std::string branches;
  for (const OptionInfo& option : command.options) {
    if (!option.takes_value) continue;
    branches += fmt::format("        {})\n          {}; return ;;\n", Join(option.names, "|"),
                            option.choices.empty()
                                ? "_octet_files"
                                : fmt::format("_octet_words '{}'", Join(option.choices)));
  }
  if (branches.empty()) return "";
  return fmt::format("      case \"$previous\" in\n{}      esac\n", branches);
}

std::string BashCommand(const CommandInfo& command) {
  std::vector<std::string> options;
  for (const OptionInfo& option : command.options) {
    options.insert(options.end(), option.names.begin(), option.names.end());
  }
  std::string positional = ":";
  if (command.takes_positionals) {
    positional = command.positional_choices.empty()
                     ? "_octet_files"
                     : fmt::format("_octet_words '{}'", Join(command.positional_choices));
  }
  return fmt::format(
      "    {})\n{}"
      "      case \"$current\" in\n"
      "        -*) _octet_words '{}' ;;\n"
      "        *) {} ;;\n"
      "      esac ;;\n",
      command.name, BashValues(command), Join(options), positional);
}

std::string ZshEscaped(const std::string& text) {
  std::string escaped = ShellQuoted(text);
  for (const char* special : {"[", "]", ":"}) {
    escaped = Replaced(escaped, special, std::string("\\") + special);
  }
  return escaped;
}

std::string ZshOption(const OptionInfo& option) {
  std::string value;
  if (option.takes_value) {
    value =
        option.choices.empty() ? ":value:_files" : fmt::format(":value:({})", Join(option.choices));
  }
  std::string spec;
  for (const std::string& name : option.names) {
    const char* equals = option.takes_value && name.starts_with("--") ? "=" : "";
    spec += fmt::format("        '({}){}{}[{}]{}' \\\n", Join(option.names), name, equals,
                        ZshEscaped(option.description), value);
  }
  return spec;
}

}  // namespace

std::string BashCompletion(std::span<const CommandInfo> commands) {
  std::string branches;
  for (const CommandInfo& command : commands) branches += BashCommand(command);
  return fmt::format(
      R"(# bash completion of octet: source <(octet completion bash)
_octet_words() {{
  local IFS=$' \n'
  COMPREPLY=($(compgen -W "$1" -- "$current"))
}}
_octet_files() {{
  local IFS=$'\n'
  compopt -o filenames 2>/dev/null
  COMPREPLY=($(compgen -f -- "$current"))
}}
_octet() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    _octet_words '{} --help --version'
    return
  fi
  case "${{COMP_WORDS[1]}}" in
{}  esac
}}
complete -F _octet octet
)",
      Join(Names(commands)), branches);
}

std::string ZshCompletion(std::span<const CommandInfo> commands) {
  std::string descriptions;
  std::string branches;
  for (const CommandInfo& command : commands) {
    descriptions += fmt::format("    '{}:{}'\n", command.name, ZshEscaped(command.description));
    branches += fmt::format("    {})\n      _arguments \\\n", command.name);
    for (const OptionInfo& option : command.options) branches += ZshOption(option);
    const bool listed = !command.positional_choices.empty();
    branches += command.takes_positionals
                    ? fmt::format("        '*:argument:{}' ;;\n",
                                  listed ? "(" + Join(command.positional_choices) + ")" : "_files")
                    : "        ;;\n";
  }
  return fmt::format(
      R"(#compdef octet
# zsh completion of octet: source <(octet completion zsh)
_octet() {{
  local -a commands
  commands=(
{}  )
  if (( CURRENT == 2 )); then
    _describe -t commands command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
{}  esac
}}
if [ "$funcstack[1]" = _octet ]; then _octet "$@"; else compdef _octet octet; fi
)",
      descriptions, branches);
}

std::string FishCompletion(std::span<const CommandInfo> commands) {
  std::string script =
      "# fish completion of octet: octet completion fish | source\n"
      "complete -c octet -n __fish_use_subcommand -f -l help -d 'Print this help'\n"
      "complete -c octet -n __fish_use_subcommand -f -l version -d 'Print the version'\n";
  for (const CommandInfo& command : commands) {
    script += fmt::format("complete -c octet -n __fish_use_subcommand -f -a {} -d '{}'\n",
                          command.name, FishQuoted(command.description));
    const std::string when =
        fmt::format("complete -c octet -n '__fish_seen_subcommand_from {}'", command.name);
    if (!command.takes_positionals) script += when + " -f\n";
    if (!command.positional_choices.empty()) {
      script += fmt::format("{} -f -a '{}'\n", when, Join(command.positional_choices));
    }
    for (const OptionInfo& option : command.options) {
      script += when;
      for (const std::string& name : option.names) {
        script += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      if (option.takes_value) {
        script +=
            option.choices.empty() ? " -r -F" : fmt::format(" -x -a '{}'", Join(option.choices));
      }
      script += fmt::format(" -d '{}'\n", FishQuoted(option.description));
    }
  }
  return script;
}

}  // namespace octet::app
