// JSON schemas as grammars. What is read, and what is refused: docs/guides/constraints.md.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"
#include "constrain/json_grammar.h"

namespace octet {

/// Texts of this grammar are JSON that the schema allows; not all such JSON is among them (members
/// come in the schema's order, white space is bounded). kInvalidArgument names the keyword that
/// cannot be guaranteed by its JSON pointer.
Result<Grammar> SchemaGrammar(std::string_view schema);

/// The same as a part of a larger grammar.
Result<ExprId> AddSchema(const nlohmann::ordered_json& schema, GrammarBuilder& builder,
                         JsonParts& parts);

/// Parses a JSON text whose order of members counts; capped in size and depth.
Result<nlohmann::ordered_json> ParseOrderedJson(std::string_view text, std::string_view where);

}  // namespace octet
