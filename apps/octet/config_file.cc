#include "config_file.h"

#include <filesystem>

#include "command_tree.h"

namespace octet::app {

Status ApplyConfigFile(CLI::App& command, const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    return Err(ErrorCode::kNotFound, "{}: there is no such file", path);
  try {
    CLI::ConfigTOML reader;
    for (const CLI::ConfigItem& item : reader.from_file(path)) {
      if (item.name == "++" || item.name == "--") continue;  // where a table begins and ends
      const std::string flag = "--" + item.name;
      CLI::Option* option = command.get_option_no_throw(flag);
      if (option == nullptr || !option->get_configurable()) {
        return Err(ErrorCode::kInvalidArgument, "{}: there is no option \"{}\"{}", path, item.name,
                   SuggestOption(command, flag));
      }
      if (option->count() > 0) continue;  // the command line wins
      if (option->get_expected_max() == 0) {
        option->add_result(
            option->get_flag_value(flag, item.inputs.empty() ? "true" : item.inputs.front()));
      } else {
        option->add_result(item.inputs);
      }
      option->run_callback();
    }
  } catch (const CLI::Error& e) {
    return Err(ErrorCode::kInvalidArgument, "{}: {}", path, e.what());
  }
  return {};
}

}  // namespace octet::app
