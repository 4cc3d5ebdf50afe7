// Objects of a schema: which members, in which order, and which others.
#include <algorithm>

#include "constrain/pattern.h"
#include "constrain/schema_compiler.h"
#include "text/utf8.h"

namespace octet {

/// The named members in the schema's order, then those that are only required.
bool SchemaCompiler::ReadMembers(const SchemaJson& schema, const std::string& at,
                                 std::vector<Member>& members) {
  std::vector<std::string> required;
  if (const auto found = schema.find("required"); found != schema.end()) {
    if (!found->is_array()) return Fail(at + "/required", "expected an array of names"), false;
    for (const SchemaJson& name : *found) {
      if (!name.is_string()) return Fail(at + "/required", "expected an array of names"), false;
      required.push_back(name.get<std::string>());
    }
  }
  const SchemaJson none = SchemaJson::object();
  const SchemaJson& properties = schema.contains("properties") ? schema["properties"] : none;
  if (!properties.is_object()) return Fail(at + "/properties", "expected an object"), false;
  const auto key = [&](const std::string& name) { return parts_.Exactly(name); };
  for (const auto& [name, property] : properties.items()) {
    const bool wanted = std::find(required.begin(), required.end(), name) != required.end();
    if (property == false && !wanted) continue;
    const ExprId value = Compile(property, at + "/properties/" + name);
    members.push_back({parts_.Member(key(name), value), wanted});
  }
  for (const std::string& name : required) {
    if (properties.contains(name)) continue;
    const bool open = !schema.contains("additionalProperties");
    if (!open && schema["additionalProperties"] == false) {
      return Fail(at + "/required", "\"" + name + "\" is required and not allowed"), false;
    }
    const ExprId value =
        open ? parts_.Value()
             : Compile(schema["additionalProperties"], at + "/additionalProperties");
    members.push_back({parts_.Member(key(name), value), true});
  }
  return ok();
}

/// The strings that are none of `names` [begin, end), which agree in their first `depth`
/// characters and are sorted: what follows these.
ExprId SchemaCompiler::KeyBelow(const std::vector<std::u32string>& names, size_t begin, size_t end,
                                size_t depth) {
  CodePointSet plain = Complement({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}});
  const ExprId any = builder_.Repeat(builder_.Class(plain), 0, -1);
  std::vector<ExprId> ways;
  if (names[begin].size() > depth) {
    ways.push_back(builder_.Empty());
  } else {
    ++begin;
  }
  CodePointSet taken;
  for (size_t i = begin; i < end;) {
    const char32_t c = names[i][depth];
    size_t last = i;
    while (last < end && names[last][depth] == c) ++last;
    taken.push_back({c, c});
    ways.push_back(
        builder_.Sequence({builder_.Class({{c, c}}), KeyBelow(names, i, last, depth + 1)}));
    i = last;
  }
  const ExprId other = builder_.Class(Intersection(plain, Complement(Normalised(taken))));
  ways.push_back(builder_.Sequence({other, any}));
  return builder_.Alternatives(std::move(ways));
}

/// A key that is none of these, written without escapes.
ExprId SchemaCompiler::KeyBeside(const std::vector<std::string>& names) {
  constexpr size_t kLongestName = 200;
  std::vector<std::u32string> wide;
  for (const std::string& name : names) {
    std::u32string characters;
    bool plain = name.size() <= kLongestName;
    for (std::string_view rest = name; !rest.empty() && plain;) {
      const size_t length = Utf8Length(rest);
      plain =
          length > 0 && static_cast<uint8_t>(rest[0]) >= 0x20 && rest[0] != '"' && rest[0] != '\\';
      if (plain) characters += DecodeUtf8(rest.substr(0, length));
      rest.remove_prefix(std::max<size_t>(1, length));
    }
    // Others cannot be spelt without escapes, or are longer than the keys made here.
    if (plain) wide.push_back(std::move(characters));
  }
  std::sort(wide.begin(), wide.end());
  wide.erase(std::unique(wide.begin(), wide.end()), wide.end());
  if (wide.empty()) {
    const ExprId one = builder_.Class(Complement({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}));
    return builder_.Sequence({builder_.Literal("\""), builder_.Repeat(one, 0, kLongestName / 4),
                              builder_.Literal("\"")});
  }
  return builder_.Sequence(
      {builder_.Literal("\""), KeyBelow(wide, 0, wide.size(), 0), builder_.Literal("\"")});
}

/// A member that the schema does not name, or -1 where there shall be none.
ExprId SchemaCompiler::ExtraMember(const SchemaJson& schema, const std::string& at) {
  const bool named = schema.contains("properties") && !schema["properties"].empty();
  const auto found = schema.find("additionalProperties");
  if (found == schema.end() ? named || schema.contains("required") : *found == false) return -1;
  std::vector<std::string> names;
  if (named) {
    for (const auto& [name, property] : schema["properties"].items()) names.push_back(name);
  }
  if (const auto required = schema.find("required"); required != schema.end()) {
    for (const SchemaJson& name : *required) names.push_back(name.get<std::string>());
  }
  const ExprId value =
      found == schema.end() ? parts_.Value() : Compile(*found, at + "/additionalProperties");
  const ExprId key = names.empty() ? parts_.String() : KeyBeside(names);
  return builder_.Shared("extra", parts_.Member(key, value));
}

/// Members in their order, commas between those that are there, then at most `most_extra` (-1: any
/// number) extra ones.
ExprId SchemaCompiler::Chain(const std::vector<Member>& members, ExprId extra, int32_t most_extra) {
  // What may follow a member; and the same where there was none before.
  ExprId rest = builder_.Empty(), first = builder_.Empty();
  if (extra >= 0 && most_extra != 0) {
    const ExprId more = builder_.Sequence({parts_.Comma(), extra});
    rest = builder_.Shared("extras", builder_.Repeat(more, 0, most_extra));
    const ExprId others = builder_.Repeat(more, 0, most_extra < 0 ? -1 : most_extra - 1);
    first = builder_.Optional(builder_.Sequence({extra, others}));
  }
  const size_t fixed = static_cast<size_t>(
      std::find_if(members.begin(), members.end(), [](const Member& m) { return m.required; }) -
      members.begin());
  for (size_t i = members.size(); i-- > 0 && !builder_.too_large();) {
    const ExprId member = members[i].required && i > fixed
                              ? members[i].expr
                              : builder_.Shared("member", members[i].expr);
    const ExprId here = builder_.Sequence({member, rest});
    first = members[i].required ? here : builder_.Alternatives({here, first});
    const ExprId after = builder_.Sequence({parts_.Comma(), member, rest});
    rest = members[i].required ? after : builder_.Alternatives({after, rest});
    // Used twice where a member may be missing.
    if (i > 0) rest = builder_.Shared("members", rest);
  }
  return first;
}

ExprId SchemaCompiler::CompileObject(const SchemaJson& schema, const std::string& at) {
  std::vector<Member> members;
  if (!ReadMembers(schema, at, members)) return 0;
  const auto required =
      std::count_if(members.begin(), members.end(), [](const Member& m) { return m.required; });
  const int64_t least = Count(schema, "minProperties", 0, at);
  const int64_t most = Count(schema, "maxProperties", kEndless, at);
  ExprId extra = ExtraMember(schema, at);
  if (const auto open = schema.find("unevaluatedProperties");
      open != schema.end() && *open != true && (extra >= 0 || *open != false)) {
    return Fail(at + "/unevaluatedProperties",
                "only false without additionalProperties is guaranteed");
  }
  const auto n = static_cast<int64_t>(members.size());
  if (n > most && required < n) {
    return Fail(at + "/maxProperties",
                "fewer than the properties that are named cannot be guaranteed");
  }
  if (required > most) return Fail(at + "/maxProperties", "more properties are required");
  const auto most_extra =
      static_cast<int32_t>(most >= kMostRepeats ? -1 : std::max<int64_t>(0, most - n));
  if (least > required) {
    // Keys may come twice, so that one more is all that is sure.
    if (n > 0 || least > 1 || extra < 0 || most < 1) {
      return Fail(at + "/minProperties", "more than the required properties cannot be guaranteed");
    }
    const ExprId more = builder_.Sequence({parts_.Comma(), extra});
    return parts_.Braces(
        builder_.Sequence({extra, builder_.Repeat(more, 0, most_extra < 0 ? -1 : most_extra - 1)}));
  }
  return parts_.Braces(Chain(members, extra, most_extra));
}

}  // namespace octet
