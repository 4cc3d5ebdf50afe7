// Regular expressions and formats of JSON schema strings, as grammar.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "constrain/json_grammar.h"

namespace octet {

/// What stands between a JSON string's quotes, and how many characters it has.
struct PatternText {
  ExprId expr = 0;
  int64_t min_length = 0;
  int64_t max_length = 0;  // kEndless: no bound
};

inline constexpr int64_t kEndless = int64_t{1} << 40;

/// An ECMA 262 regular expression as JSON schema uses it: found anywhere unless anchored with ^ and
/// $, by Unicode characters. kInvalidArgument for what is not regular or not read here:
/// look-around, back references, word boundaries, \p, anchors inside groups.
Result<PatternText> PatternGrammar(std::string_view pattern, GrammarBuilder& builder,
                                   JsonParts& parts);

/// All texts, from end to end, that a regular expression of the same kind matches; an anchor at an
/// end changes nothing. Every mark may stand behind a \\, as in other dialects.
Result<Grammar> RegexGrammar(std::string_view pattern);

/// Texts of a format; every one of them is valid, not every valid one is among them.
/// kInvalidArgument lists the formats there are.
Result<PatternText> FormatGrammar(std::string_view format, GrammarBuilder& builder,
                                  JsonParts& parts);

}  // namespace octet
