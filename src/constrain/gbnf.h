// GBNF, llama.cpp's notation of grammars: docs/guides/constraints.md.
#pragma once

#include <string_view>

#include "base/result.h"
#include "constrain/grammar.h"

namespace octet {

/// kInvalidArgument with line and column.
Result<Grammar> ParseGbnf(std::string_view text);

}  // namespace octet
