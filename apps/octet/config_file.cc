#include "config_file.h"

#include <fmt/ranges.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "command_tree.h"
#include "toml_reader.h"

namespace octet::app {
namespace {

Result<std::string> ReadWhole(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    return Err(ErrorCode::kNotFound, "{}: there is no such file", path);
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return Err(ErrorCode::kIo, "{}: cannot be read", path);
  return text.str();
}

/// Gives `option` what the file says. CLI11 throws for what does not fit.
void Set(CLI::Option& option, const std::string& flag, const TomlItem& item) {
  if (option.get_expected_max() == 0) {
    option.add_result(option.get_flag_value(flag, item.values.front()));
  } else {
    option.add_result(item.values);
  }
  option.run_callback();
}

Status Apply(CLI::App& command, const TomlItem& item, const std::string& path) {
  const std::string flag = "--" + item.key;
  CLI::Option* option = command.get_option_no_throw(flag);
  if (option == nullptr || !option->get_configurable()) {
    return Err(ErrorCode::kInvalidArgument, "{}:{}: there is no option \"{}\"{}", path, item.line,
               item.key, SuggestOption(command, flag));
  }
  if (option->count() > 0) return {};  // the command line wins
  const bool is_flag = option->get_expected_max() == 0;
  if (item.is_list && option->get_expected_max() < 2) {
    return Err(ErrorCode::kInvalidArgument, "{}:{}: {} is a list, expected one value", path,
               item.line, item.key);
  }
  const std::string& first = item.values.empty() ? "" : item.values.front();
  if (is_flag && first != "true" && first != "false") {
    return Err(ErrorCode::kInvalidArgument, "{}:{}: {} is {}, expected true or false", path,
               item.line, item.key, first);
  }
  if (is_flag && first == "false") return {};
  if (item.values.empty()) return {};
  try {
    Set(*option, flag, item);
  } catch (const CLI::ConversionError&) {
    return Err(ErrorCode::kInvalidArgument, "{}:{}: {} is \"{}\", expected {}", path, item.line,
               item.key, fmt::join(item.values, "\", \""), option->get_type_name());
  } catch (const CLI::Error& e) {
    return Err(ErrorCode::kInvalidArgument, "{}:{}: {}", path, item.line, e.what());
  }
  return {};
}

}  // namespace

Status ApplyConfigFile(CLI::App& command, const std::string& path) {
  OCTET_ASSIGN(const std::string text, ReadWhole(path));
  OCTET_ASSIGN(const std::vector<TomlItem> items, ReadToml(text, path));
  for (const TomlItem& item : items) OCTET_TRY(Apply(command, item, path));
  return {};
}

}  // namespace octet::app
