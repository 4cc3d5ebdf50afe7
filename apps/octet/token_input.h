// What tokenize and detokenize share: their input, and how ids are written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "octet/error.h"

namespace octet::app {

/// The bytes of a file, or of standard input for "-". Nothing is added or cut.
Result<std::string> ReadInput(const std::string& path);

/// Numbers separated by spaces, commas, line breaks or brackets. kInvalidArgument quotes the first
/// that is none.
Result<std::vector<int32_t>> ParseIds(std::string_view text);

/// "1 733 16289".
std::string JoinIds(const std::vector<int32_t>& ids);

}  // namespace octet::app
