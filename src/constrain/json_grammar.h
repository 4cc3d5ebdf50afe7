// The parts of JSON as grammar.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "constrain/grammar.h"

namespace octet {

/// Any JSON object.
Result<Grammar> JsonObjectGrammar();

/// The parts, each made when it is first asked for. White space is bounded: none, a space, or a new
/// line and an indent. Strings hold no surrogates, also not as escapes; numbers are finite.
class JsonParts {
 public:
  explicit JsonParts(GrammarBuilder& builder) : builder_(builder) {}

  ExprId Space();
  ExprId Character();  // of a string, as it is or escaped
  ExprId String();
  ExprId Integer();
  ExprId Number();
  ExprId Value();
  ExprId Object();
  ExprId Array();
  ExprId Boolean();
  ExprId Null() { return builder_.Literal("null"); }
  /// Exactly this value, without white space.
  ExprId Exactly(const nlohmann::ordered_json& value);
  /// One character of a set as a string shows it: escaped where it must be.
  ExprId CharacterOf(const CodePointSet& set);

  /// "{" members "}" with its space; `members` may be the empty text.
  ExprId Braces(ExprId members);
  /// Between `min` and `max` (-1: any number) of `item`, with commas.
  ExprId Brackets(ExprId item, int32_t min, int32_t max);
  /// "," and its space.
  ExprId Comma();
  /// `key` as a string, ":", its space, and a value.
  ExprId Member(ExprId key, ExprId value);

 private:
  /// A rule that is made once, and may be used while it is made.
  template <class Make>
  ExprId Once(int32_t& rule, const char* name, Make make);

  GrammarBuilder& builder_;
  int32_t space_ = -1, character_ = -1, string_ = -1, integer_ = -1, number_ = -1, value_ = -1,
          object_ = -1, array_ = -1, comma_ = -1;
};

}  // namespace octet
