// What tokenize and detokenize share: their input, and how ids are written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "octet/error.h"
#include "octet/tokenizer.h"

namespace octet::app {

/// The bytes of a file, or of standard input for "-". Nothing is added or cut.
Result<std::string> ReadInput(const std::string& path);

/// The tokenizer of -m; kInvalidArgument says how to name a model when it is empty.
Result<ModelTokenizer> LoadTokenizerOf(const std::string& model);

/// Numbers separated by spaces, commas, line breaks or brackets. kInvalidArgument quotes the first
/// that is none.
Result<std::vector<int32_t>> ParseIds(std::string_view text);

/// "1 733 16289".
std::string JoinIds(const std::vector<int32_t>& ids);

}  // namespace octet::app
