#include "constrain/json_grammar.h"

namespace octet {
namespace {

// Doubles hold these exactly, and finitely.
constexpr int32_t kMostDigits = 15;
constexpr int32_t kMostIndent = 20;

constexpr CodePointRange kDigits = {'0', '9'};

/// What a string shows as it is.
CodePointSet Plain() { return Complement({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}); }

}  // namespace

template <class Make>
ExprId JsonParts::Once(int32_t& rule, const char* name, Make make) {
  if (rule < 0) {
    rule = builder_.DeclareRule(name);
    builder_.DefineRule(rule, make());
  }
  return builder_.Rule(rule);
}

ExprId JsonParts::Space() {
  return Once(space_, "space", [&] {
    const ExprId indent = builder_.Repeat(builder_.Literal(" "), 0, kMostIndent);
    const ExprId line = builder_.Sequence({builder_.Literal("\n"), indent});
    return builder_.Optional(builder_.Alternatives({builder_.Literal(" "), line}));
  });
}

ExprId JsonParts::Character() {
  return Once(character_, "character", [&] {
    const auto one_of = [&](std::string_view letters) {
      CodePointSet set;
      for (const char c : letters)
        set.push_back({static_cast<char32_t>(c), static_cast<char32_t>(c)});
      return builder_.Class(std::move(set));
    };
    const ExprId hex = builder_.Class({kDigits, {'A', 'F'}, {'a', 'f'}});
    const ExprId not_d = one_of("0123456789ABCEFabcef");
    const ExprId number =
        builder_.Alternatives({builder_.Sequence({not_d, hex, hex, hex}),
                               builder_.Sequence({one_of("Dd"), one_of("01234567"), hex, hex})});
    const ExprId escape = builder_.Sequence(
        {builder_.Literal("\\"),
         builder_.Alternatives(
             {one_of("\"\\/bfnrt"), builder_.Sequence({builder_.Literal("u"), number})})});
    return builder_.Alternatives({builder_.Class(Plain()), escape});
  });
}

ExprId JsonParts::String() {
  return Once(string_, "string", [&] {
    return builder_.Sequence(
        {builder_.Literal("\""), builder_.Repeat(Character(), 0, -1), builder_.Literal("\"")});
  });
}

ExprId JsonParts::Integer() {
  return Once(integer_, "integer", [&] {
    const ExprId digits =
        builder_.Sequence({builder_.Class({{'1', '9'}}),
                           builder_.Repeat(builder_.Class({kDigits}), 0, kMostDigits - 1)});
    // No "-0": some readers take it for a fraction.
    return builder_.Alternatives(
        {builder_.Literal("0"),
         builder_.Sequence({builder_.Optional(builder_.Literal("-")), digits})});
  });
}

ExprId JsonParts::Number() {
  return Once(number_, "number", [&] {
    const ExprId digit = builder_.Class({kDigits});
    const ExprId whole = builder_.Alternatives(
        {builder_.Literal("0"), builder_.Sequence({builder_.Class({{'1', '9'}}),
                                                   builder_.Repeat(digit, 0, kMostDigits - 1)})});
    const ExprId fraction =
        builder_.Sequence({builder_.Literal("."), builder_.Repeat(digit, 1, kMostDigits)});
    const ExprId exponent =
        builder_.Sequence({builder_.Class({{'E', 'E'}, {'e', 'e'}}),
                           builder_.Optional(builder_.Class({{'+', '+'}, {'-', '-'}})),
                           builder_.Repeat(digit, 1, 2)});
    return builder_.Sequence({builder_.Optional(builder_.Literal("-")), whole,
                              builder_.Optional(fraction), builder_.Optional(exponent)});
  });
}

ExprId JsonParts::Boolean() {
  return builder_.Alternatives({builder_.Literal("true"), builder_.Literal("false")});
}

ExprId JsonParts::Value() {
  return Once(value_, "value", [&] {
    return builder_.Alternatives({String(), Number(), Object(), Array(), Boolean(), Null()});
  });
}

ExprId JsonParts::Object() {
  return Once(object_, "object", [&] {
    const ExprId member = builder_.Shared("member", Member(String(), Value()));
    const ExprId more = builder_.Sequence({Comma(), member});
    return Braces(builder_.Optional(builder_.Sequence({member, builder_.Repeat(more, 0, -1)})));
  });
}

ExprId JsonParts::Array() {
  return Once(array_, "array", [&] { return Brackets(Value(), 0, -1); });
}

ExprId JsonParts::Comma() {
  return Once(comma_, "comma", [&] { return builder_.Sequence({builder_.Literal(","), Space()}); });
}

ExprId JsonParts::Member(ExprId key, ExprId value) {
  return builder_.Sequence({key, builder_.Literal(":"), Space(), value});
}

ExprId JsonParts::Braces(ExprId members) {
  return builder_.Sequence(
      {builder_.Literal("{"), Space(), members, Space(), builder_.Literal("}")});
}

ExprId JsonParts::Brackets(ExprId item, int32_t min, int32_t max) {
  const ExprId open = builder_.Sequence({builder_.Literal("["), Space()});
  const ExprId close = builder_.Sequence({Space(), builder_.Literal("]")});
  if (max == 0) return builder_.Sequence({open, builder_.Literal("]")});
  const ExprId more = builder_.Repeat(builder_.Sequence({Comma(), item}), std::max(0, min - 1),
                                      max < 0 ? -1 : max - 1);
  const ExprId items = builder_.Sequence({item, more});
  return builder_.Sequence({open, min == 0 ? builder_.Optional(items) : items, close});
}

ExprId JsonParts::Exactly(const nlohmann::ordered_json& value) {
  return builder_.Literal(value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

ExprId JsonParts::CharacterOf(const CodePointSet& set) {
  std::vector<ExprId> ways;
  if (CodePointSet plain = Intersection(set, Plain()); !plain.empty()) {
    ways.push_back(builder_.Class(std::move(plain)));
  }
  for (const CodePointRange& r : Intersection(set, {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}})) {
    for (char32_t c = r.first; c <= r.last; ++c) {
      const std::string text(1, static_cast<char>(c));
      const std::string escaped = nlohmann::json(text).dump();
      ways.push_back(builder_.Literal(escaped.substr(1, escaped.size() - 2)));
    }
  }
  return builder_.Alternatives(std::move(ways));
}

Result<Grammar> JsonObjectGrammar() {
  GrammarBuilder builder;
  JsonParts parts(builder);
  const int32_t root = builder.DeclareRule("root");
  builder.DefineRule(root, parts.Object());
  return builder.Finish(root);
}

}  // namespace octet
