// The JSON header of a safetensors file, parsed without building a JSON tree: a header may be
// 100 MB.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace octet {

/// One entry as written; nothing is checked yet but its form.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;           // "BF16"
  std::vector<int64_t> shape;  // at most 8 dimensions
  uint64_t begin = 0;          // bytes from the start of the data section
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;        // in file order
  std::map<std::string, std::string> metadata;  // `__metadata__`
};

/// `where` is named in errors. A repeated tensor name is left to the caller, a repeated field is
/// kCorrupt.
Result<SafetensorsHeader> ParseSafetensorsHeader(std::string_view json, std::string_view where);

}  // namespace octet
