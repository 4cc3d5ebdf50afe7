// A file of options: TOML whose values are strings, numbers, booleans and lists of them. Tables
// only group.
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
/// key given twice (in two tables, too), and for values that no option takes: dates, lists within
/// lists.
Result<std::vector<TomlItem>> ReadToml(std::string_view text, std::string_view where);

}  // namespace octet::app
