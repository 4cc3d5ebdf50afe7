// JSON from files that may hold anything: capped in size and depth, errors with the place.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"

namespace octet {

/// Parses `text`; `where` is named in errors. Nesting beyond `max_depth` is kCorrupt: the library
/// and its callers recurse on depth. A key given twice keeps its last value.
Result<nlohmann::json> ParseJson(std::string_view text, std::string_view where, int max_depth = 64);

/// Reads and parses a file of at most `max_bytes`. The default keeps the parsed form, up to ten
/// times larger than the text, below 200 MB.
Result<nlohmann::json> ReadJsonFile(const std::filesystem::path& path,
                                    uint64_t max_bytes = 16u << 20);

}  // namespace octet
