// What an answer with tool calls looks like.
#pragma once

#include <string_view>

#include "base/result.h"
#include "constrain/grammar.h"

namespace octet {

/// Calls are written as Mistral's third format writes them:
///   [TOOL_CALLS] [{"name": "f", "arguments": {…}}, {"name": "g", "arguments": {…}}]
inline constexpr std::string_view kToolCallsMark = "[TOOL_CALLS]";
inline constexpr std::string_view kToolCallsBegin = "[TOOL_CALLS] [";
inline constexpr std::string_view kToolCallBegin = "{\"name\": ";
inline constexpr std::string_view kToolArguments = ", \"arguments\": ";
inline constexpr std::string_view kToolCallSeparator = ", ";

/// `wish`: {"tools": [{"name": "f", "parameters": a schema}, …], "required": may the answer not be
/// text, "parallel": may there be several calls}. kInvalidArgument as SchemaGrammar, naming the
/// tool.
Result<Grammar> ToolGrammar(std::string_view wish);

}  // namespace octet
