#include "constrain/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "constrain/digits.h"
#include "constrain/pattern.h"
#include "constrain/schema_compiler.h"
#include "io/json.h"

namespace octet {
namespace {

constexpr size_t kMostBytes = 256u << 10;
constexpr int kDeepest = 80;

// Beside annotations, $ref, allOf and what is refused with a reason of its own.
const std::set<std::string> kUnderstood = {"type",
                                           "properties",
                                           "required",
                                           "additionalProperties",
                                           "enum",
                                           "const",
                                           "items",
                                           "prefixItems",
                                           "additionalItems",
                                           "minItems",
                                           "maxItems",
                                           "uniqueItems",
                                           "anyOf",
                                           "oneOf",
                                           "allOf",
                                           "$ref",
                                           "minLength",
                                           "maxLength",
                                           "pattern",
                                           "format",
                                           "minimum",
                                           "maximum",
                                           "multipleOf",
                                           "exclusiveMinimum",
                                           "exclusiveMaximum",
                                           "nullable",
                                           "minProperties",
                                           "maxProperties",
                                           "unevaluatedProperties"};

}  // namespace

bool SchemaCompiler::CheckKeywords(const SchemaJson& schema, const std::string& at) {
  for (const auto& [key, value] : schema.items()) {
    if (IsAnnotation(key) || kUnderstood.contains(key)) continue;
    if (key == "patternProperties" && value.is_object() && value.empty()) continue;
    Fail(at + "/" + key, "this keyword cannot be guaranteed; leave it out");
    return false;
  }
  return true;
}

ExprId SchemaCompiler::CompileReference(const std::string& reference, const std::string& at) {
  const SchemaJson* target = document_.Find(reference);
  if (target == nullptr) {
    return Fail(at + "/$ref", "there is no \"" + reference +
                                  "\" here; only references into it (#/…) are followed");
  }
  const auto [found, is_new] = rules_.try_emplace(reference, -1);
  if (is_new) {
    found->second = builder_.DeclareRule(reference);
    pending_.push_back({found->second, target, reference});
  }
  return builder_.Rule(found->second);
}

ExprId SchemaCompiler::CompileChoice(const SchemaJson& schema, const char* key,
                                     const std::string& at) {
  const SchemaJson& ways = schema[key];
  const std::string here = at + "/" + key;
  if (!ways.is_array() || ways.empty()) return Fail(here, "expected an array of schemas");
  SchemaJson rest = schema;
  rest.erase(key);
  const bool alone = SaysNothing(rest);
  std::vector<SchemaJson> merged;
  std::vector<ExprId> exprs;
  for (size_t i = 0; i < ways.size() && ok() && !builder_.too_large(); ++i) {
    const std::string place = fmt::format("{}/{}", here, i);
    if (!ways[i].is_object() && !ways[i].is_boolean()) return Fail(place, "expected a schema");
    auto way = alone ? ways[i] : document_.Merge(rest, ways[i]);
    if (!way) return Fail(place, document_.fault());
    merged.push_back(*way);
    if (*way != false) exprs.push_back(Compile(*way, place));
  }
  if (std::string_view(key) == "oneOf") {
    for (size_t i = 0; i < merged.size() && ok(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (document_.AreDisjoint(merged[i], merged[j])) continue;
        return Fail(here, fmt::format("an instance may be of both {} and {}, where exactly one is "
                                      "wanted; tell them apart by a required const, or use anyOf",
                                      j, i));
      }
    }
  }
  return builder_.Alternatives(std::move(exprs));
}

ExprId SchemaCompiler::CompileValues(const SchemaJson& schema, const std::string& at) {
  const bool has_enum = schema.contains("enum");
  if (has_enum && (!schema["enum"].is_array() || schema["enum"].empty())) {
    return Fail(at + "/enum", "expected an array of values");
  }
  for (const auto& [key, value] : schema.items()) {
    if (IsAnnotation(key) || key == "type" || key == "enum" || key == "const") continue;
    return Fail(at + "/" + key, "beside enum or const this cannot be guaranteed");
  }
  SchemaJson values = has_enum ? schema["enum"] : SchemaJson::array({schema["const"]});
  const std::set<std::string> types =
      schema.contains("type") ? TypesOf(schema) : std::set<std::string>();
  std::vector<ExprId> exprs;
  for (const SchemaJson& value : values) {
    if (schema.contains("const") && value != schema["const"]) continue;
    std::set<std::string> of = TypesOf({{"const", value}});
    const bool whole =
        value.is_number_float() && value.get<double>() == std::floor(value.get<double>());
    if (of.contains("integer") || whole) of.insert({"number", "integer"});
    const bool fits = types.empty() || std::any_of(of.begin(), of.end(), [&](const std::string& t) {
                        return types.contains(t);
                      });
    if (fits) exprs.push_back(parts_.Exactly(value));
  }
  if (exprs.empty()) return Fail(at, "no value fits");
  return builder_.Alternatives(std::move(exprs));
}

ExprId SchemaCompiler::Compile(const SchemaJson& schema, const std::string& at) {
  if (!ok() || builder_.too_large()) return 0;
  if (schema == true) return parts_.Value();
  if (schema == false) return Fail(at, "false allows no value");
  if (!schema.is_object()) return Fail(at, "expected a schema: an object, true or false");
  if (!CheckKeywords(schema, at)) return 0;
  if (depth_ >= kDeepest) return Fail(at, "schemas in schemas without end");
  if (SaysNothing(schema)) return parts_.Value();
  const auto reference = schema.find("$ref");
  if (reference != schema.end() && reference->is_string()) {
    SchemaJson rest = schema;
    rest.erase("$ref");
    if (SaysNothing(rest)) return CompileReference(reference->get<std::string>(), at);
  }
  const auto flat = document_.Flatten(schema);
  if (!flat)
    return Fail(at + "/" + document_.fault().substr(0, document_.fault().find(':')),
                document_.fault());
  if (!flat->is_object()) return Compile(*flat, at);
  if (!CheckKeywords(*flat, at)) return 0;
  ++depth_;
  ExprId out = 0;
  if (flat->contains("anyOf")) {
    out = CompileChoice(*flat, "anyOf", at);
  } else if (flat->contains("oneOf")) {
    out = CompileChoice(*flat, "oneOf", at);
  } else if (flat->contains("enum") || flat->contains("const")) {
    out = CompileValues(*flat, at);
  } else {
    std::set<std::string> types = TypesOf(*flat);
    if (types.contains("number")) types.erase("integer");
    std::vector<ExprId> exprs;
    for (const std::string& type : types) exprs.push_back(CompileType(*flat, type, at));
    if (exprs.empty()) Fail(at + "/type", "no type is left");
    out = builder_.Alternatives(std::move(exprs));
  }
  --depth_;
  return out;
}

ExprId SchemaCompiler::CompileType(const SchemaJson& schema, const std::string& type,
                                   const std::string& at) {
  if (type == "object") return CompileObject(schema, at);
  if (type == "array") return CompileArray(schema, at);
  if (type == "string") return CompileString(schema, at);
  if (type == "number") return CompileNumber(schema, false, at);
  if (type == "integer") return CompileNumber(schema, true, at);
  if (type == "boolean") return parts_.Boolean();
  if (type == "null") return parts_.Null();
  return Fail(at + "/type", "\"" + type + "\" is not a type");
}

int64_t SchemaCompiler::Count(const SchemaJson& schema, const char* key, int64_t otherwise,
                              const std::string& at) {
  const auto found = schema.find(key);
  if (found == schema.end()) return otherwise;
  const double value = found->is_number() ? found->get<double>() : -1;
  if (!(value >= 0) || value != std::floor(value)) {
    Fail(at + "/" + key, "expected a whole number, 0 or more");
    return otherwise;
  }
  return static_cast<int64_t>(std::min(value, static_cast<double>(kEndless)));
}

ExprId SchemaCompiler::CompileArray(const SchemaJson& schema, const std::string& at) {
  const int64_t least = Count(schema, "minItems", 0, at);
  const int64_t most = Count(schema, "maxItems", kEndless, at);
  if (least > most) return Fail(at + "/minItems", "it is larger than maxItems");
  if (least > kMostRepeats) return Fail(at + "/minItems", "so many cannot be guaranteed");
  const auto unique = schema.find("uniqueItems");
  if (unique != schema.end() && *unique == true && most > 1) {
    return Fail(at + "/uniqueItems", "this cannot be guaranteed; leave it out");
  }
  // The draft of 2020 and the one of 2019 name the first items differently.
  const bool old = schema.contains("items") && schema["items"].is_array();
  const char* first_key = old ? "items" : "prefixItems";
  const char* rest_key = old ? "additionalItems" : "items";
  const SchemaJson none = SchemaJson::array();
  const SchemaJson& first = schema.contains(first_key) ? schema[first_key] : none;
  if (!first.is_array()) return Fail(at + "/" + first_key, "expected an array of schemas");
  const auto n = static_cast<int64_t>(first.size());
  const auto rest = schema.find(rest_key);
  const bool open = rest == schema.end() ? n == 0 || least > n : *rest != false;
  if (!open && least > n) return Fail(at + "/minItems", "more items are wanted than allowed");
  ExprId item = -1;
  if (open && most > n) {
    item = rest == schema.end() ? parts_.Value() : Compile(*rest, at + "/" + rest_key);
  }
  const int32_t top = most >= kMostRepeats ? -1 : static_cast<int32_t>(most);
  if (n == 0) return parts_.Brackets(item, static_cast<int32_t>(least), item < 0 ? 0 : top);
  ExprId tail = builder_.Empty();
  if (item >= 0) {
    tail = builder_.Repeat(builder_.Sequence({parts_.Comma(), item}),
                           static_cast<int32_t>(std::max<int64_t>(0, least - n)),
                           top < 0 ? -1 : top - static_cast<int32_t>(n));
  }
  for (int64_t i = std::min(n, most); i-- > 0;) {
    const ExprId value =
        Compile(first[static_cast<size_t>(i)], fmt::format("{}/{}/{}", at, first_key, i));
    tail =
        i > 0 ? builder_.Sequence({parts_.Comma(), value, tail}) : builder_.Sequence({value, tail});
    if (i >= least) tail = builder_.Optional(tail);
  }
  return builder_.Sequence(
      {builder_.Literal("["), parts_.Space(), tail, parts_.Space(), builder_.Literal("]")});
}

ExprId SchemaCompiler::CompileString(const SchemaJson& schema, const std::string& at) {
  const int64_t least = Count(schema, "minLength", 0, at);
  const int64_t most = Count(schema, "maxLength", kEndless, at);
  if (least > most) return Fail(at + "/minLength", "it is larger than maxLength");
  const bool has_pattern = schema.contains("pattern"), has_format = schema.contains("format");
  const ExprId quote = builder_.Literal("\"");
  if (!has_pattern && !has_format) {
    if (least == 0 && most == kEndless) return parts_.String();
    if (least > kMostRepeats) return Fail(at + "/minLength", "so many cannot be guaranteed");
    const int32_t top = static_cast<int32_t>(std::min<int64_t>(most, kMostRepeats));
    const ExprId text = builder_.Repeat(parts_.Character(), static_cast<int32_t>(least),
                                        most == kEndless ? -1 : top);
    return builder_.Sequence({quote, text, quote});
  }
  const char* key = has_pattern ? "pattern" : "format";
  const std::string here = at + "/" + key;
  if (has_pattern && has_format) {
    return Fail(here, "beside format it cannot be guaranteed; use one of the two");
  }
  if (!schema[key].is_string()) return Fail(here, "expected a string");
  const auto text = schema[key].get<std::string>();
  const auto grammar =
      has_pattern ? PatternGrammar(text, builder_, parts_) : FormatGrammar(text, builder_, parts_);
  if (!grammar) return Fail(here, grammar.error().message);
  if (grammar->min_length < least || grammar->max_length > most) {
    return Fail(at + (grammar->max_length > most ? "/maxLength" : "/minLength"),
                fmt::format("the {} allows other lengths; together they cannot be guaranteed: put "
                            "the length into a pattern, as in ^[a-z]{{1,20}}$",
                            key));
  }
  return builder_.Sequence({quote, grammar->expr, quote});
}

namespace {

/// A bound of a schema, in units of 10^-decimals; as far inside as it must be.
struct ScaledBounds {
  double low = -INFINITY, high = INFINITY;
  bool open_low = false, open_high = false;

  NumberBounds At(int32_t decimals) const {
    const double unit = std::pow(10.0, decimals), largest = static_cast<double>(kLargestBound);
    const auto scaled = [&](double x, bool up, bool open) {
      double s = x * unit;
      const double near = std::round(s);
      if (std::abs(s - near) < 1e-6) {
        s = near + (open ? (up ? 1 : -1) : 0);
      } else {
        s = up ? std::ceil(s) : std::floor(s);
      }
      return std::clamp(s, -largest, largest);
    };
    return {static_cast<int64_t>(scaled(low, true, open_low)),
            static_cast<int64_t>(scaled(high, false, open_high)), decimals};
  }
  bool WholeAt(int32_t decimals) const {
    const double unit = std::pow(10.0, decimals);
    const auto whole = [&](double x) {
      return std::isinf(x) || std::abs(x * unit - std::round(x * unit)) < 1e-6;
    };
    return whole(low) && whole(high);
  }
};

}  // namespace

ExprId SchemaCompiler::Multiples(const SchemaJson& schema, int64_t low, int64_t high,
                                 const std::string& at) {
  constexpr int64_t kMost = 500;  // of each sign
  const double step = schema["multipleOf"].is_number() ? schema["multipleOf"].get<double>() : 0;
  if (!(step >= 1) || step != std::floor(step) || step > 1e9) {
    return Fail(at + "/multipleOf", "only whole numbers can be guaranteed");
  }
  const auto m = static_cast<int64_t>(step);
  const auto first = static_cast<int64_t>(std::ceil(static_cast<double>(low) / step));
  const auto last = static_cast<int64_t>(std::floor(static_cast<double>(high) / step));
  const int64_t middle = std::clamp<int64_t>(0, first, std::max(first, last));
  std::vector<ExprId> ways;
  for (int64_t k = std::max(first, middle - kMost); k <= std::min(last, middle + kMost); ++k) {
    ways.push_back(builder_.Literal(std::to_string(k * m)));
  }
  if (ways.empty()) return Fail(at + "/multipleOf", "no multiple lies between the bounds");
  return builder_.Alternatives(std::move(ways));
}

ExprId SchemaCompiler::CompileNumber(const SchemaJson& schema, bool integer,
                                     const std::string& at) {
  ScaledBounds bounds;
  const auto read = [&](const char* key, bool lower, bool open) {
    const auto found = schema.find(key);
    if (found == schema.end()) return;
    if (!found->is_number()) {
      Fail(at + "/" + key, "expected a number");
      return;
    }
    const double value = found->get<double>();
    double& mine = lower ? bounds.low : bounds.high;
    bool& mine_open = lower ? bounds.open_low : bounds.open_high;
    if (lower ? value < mine : value > mine) return;
    mine_open = open || (mine_open && value == mine);
    mine = value;
  };
  read("minimum", true, false);
  read("maximum", false, false);
  read("exclusiveMinimum", true, true);
  read("exclusiveMaximum", false, true);
  if (!ok()) return 0;
  const NumberBounds whole = bounds.At(0);
  const bool bounded = std::isfinite(bounds.low) || std::isfinite(bounds.high);
  if (schema.contains("multipleOf") && schema["multipleOf"] != 1) {
    return Multiples(schema, whole.low, whole.high, at);
  }
  if (integer || schema.contains("multipleOf")) {
    if (!bounded) return parts_.Integer();
    if (whole.low > whole.high) return Fail(at, "no whole number lies between its bounds");
    return IntegersBetween(builder_, whole.low, whole.high);
  }
  if (!bounded) return parts_.Number();
  int32_t decimals = bounds.open_low || bounds.open_high ? 2 : 0;
  constexpr int32_t kMostDecimals = 9;
  while (decimals < kMostDecimals && !bounds.WholeAt(decimals)) ++decimals;
  NumberBounds scaled = bounds.At(decimals);
  if (scaled.low > scaled.high) scaled = bounds.At(kMostDecimals);
  if (scaled.low > scaled.high)
    return Fail(at, "no number of nine decimals lies between its bounds");
  return NumbersBetween(builder_, scaled);
}

Result<ExprId> SchemaCompiler::Run() {
  const ExprId root = CompileReference("#", "#");
  while (!pending_.empty() && ok() && !builder_.too_large()) {
    const Pending job = pending_.front();
    pending_.pop_front();
    builder_.DefineRule(job.rule, Compile(*job.schema, job.at));
  }
  if (!ok()) return Err(ErrorCode::kInvalidArgument, "{}", fault_);
  return root;
}

Result<nlohmann::ordered_json> ParseOrderedJson(std::string_view text, std::string_view where) {
  constexpr int kDeepestJson = 64;
  OCTET_TRY(ParseJson(text, where, kDeepestJson));
  return nlohmann::ordered_json::parse(text, nullptr, false);
}

Result<ExprId> AddSchema(const nlohmann::ordered_json& schema, GrammarBuilder& builder,
                         JsonParts& parts) {
  return SchemaCompiler(schema, builder, parts).Run();
}

Result<Grammar> SchemaGrammar(std::string_view schema) {
  if (schema.size() > kMostBytes) {
    return Err(ErrorCode::kInvalidArgument, "the schema has {} bytes, at most {} work",
               schema.size(), kMostBytes);
  }
  OCTET_ASSIGN(const nlohmann::ordered_json json, ParseOrderedJson(schema, "the schema"));
  GrammarBuilder builder;
  JsonParts parts(builder);
  OCTET_ASSIGN(const ExprId body, AddSchema(json, builder, parts));
  const int32_t root = builder.DeclareRule("the schema");
  builder.DefineRule(root, body);
  return builder.Finish(root);
}

}  // namespace octet
