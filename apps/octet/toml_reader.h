// The part of TOML (v1.0) that a file of options needs: strings, numbers, booleans and lists of
// them, also over several lines; comments; headers of tables.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "octet/error.h"

namespace octet::app {

struct TomlItem {
  std::string key;                  // without the table it stands in
  std::vector<std::string> values;  // one, unless it is a list; strings without quotes
  bool is_list = false;
  int64_t line = 0;  // counted from 1
};

/// `where` names the file in errors. kInvalidArgument, with the line, for what is not TOML, for a
/// key given twice, and for lists within lists, inline tables, dates and """ strings, which no
/// option takes.
Result<std::vector<TomlItem>> ReadToml(std::string_view text, std::string_view where);

}  // namespace octet::app
