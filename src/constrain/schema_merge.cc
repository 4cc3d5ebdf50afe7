#include "constrain/schema_merge.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace octet {
namespace {

constexpr int kDeepest = 60;
// Schemas can double with every reference.
constexpr int kMostMerges = 2000;
constexpr int kMostComparisons = 20'000;

const std::set<std::string> kAnnotations = {
    "title",       "description",      "default",         "examples",
    "example",     "$comment",         "$schema",         "$id",
    "deprecated",  "readOnly",         "writeOnly",       "$defs",
    "definitions", "contentMediaType", "contentEncoding", "discriminator"};

const std::set<std::string> kAllTypes = {"object",  "array",   "string", "number",
                                         "integer", "boolean", "null"};

bool Holds(const SchemaJson& array, const SchemaJson& value) {
  return std::find(array.begin(), array.end(), value) != array.end();
}

std::string TypeOfValue(const SchemaJson& value) {
  if (value.is_object()) return "object";
  if (value.is_array()) return "array";
  if (value.is_string()) return "string";
  if (value.is_boolean()) return "boolean";
  if (value.is_null()) return "null";
  return value.is_number_integer() ? "integer" : "number";
}

/// The values a schema names, where it does.
std::optional<std::vector<SchemaJson>> NamedValues(const SchemaJson& schema) {
  if (schema.contains("const")) return std::vector<SchemaJson>{schema["const"]};
  if (!schema.contains("enum") || !schema["enum"].is_array()) return std::nullopt;
  return std::vector<SchemaJson>(schema["enum"].begin(), schema["enum"].end());
}

double Bound(const SchemaJson& schema, const char* key, double otherwise) {
  const auto found = schema.find(key);
  return found != schema.end() && found->is_number() ? found->get<double>() : otherwise;
}

bool Requires(const SchemaJson& schema, const std::string& name) {
  const auto required = schema.find("required");
  return required != schema.end() && required->is_array() && Holds(*required, name);
}

std::string Unescaped(std::string part) {
  for (size_t at = 0; (at = part.find('~', at)) != std::string::npos; ++at) {
    if (at + 1 < part.size() && (part[at + 1] == '0' || part[at + 1] == '1')) {
      part.replace(at, 2, part[at + 1] == '0' ? "~" : "/");
    }
  }
  return part;
}

}  // namespace

bool IsAnnotation(const std::string& keyword) {
  return kAnnotations.contains(keyword) || keyword.starts_with("x-");
}

bool SaysNothing(const SchemaJson& schema) {
  if (schema.is_boolean()) return schema.get<bool>();
  const auto& items = schema.items();
  return std::all_of(items.begin(), items.end(),
                     [](const auto& item) { return IsAnnotation(item.key()); });
}

std::set<std::string> TypesOf(const SchemaJson& schema) {
  std::set<std::string> types;
  if (const auto type = schema.find("type"); type != schema.end()) {
    if (type->is_string()) types.insert(type->get<std::string>());
    if (type->is_array()) {
      for (const SchemaJson& one : *type) {
        if (one.is_string()) types.insert(one.get<std::string>());
      }
    }
    return types;
  }
  if (const auto values = NamedValues(schema)) {
    for (const SchemaJson& value : *values) types.insert(TypeOfValue(value));
    return types;
  }
  static const std::array<std::pair<const char*, std::vector<const char*>>, 4> kHints = {
      {{"object",
        {"properties", "required", "additionalProperties", "minProperties", "maxProperties",
         "patternProperties", "propertyNames"}},
       {"array",
        {"items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"}},
       {"string", {"minLength", "maxLength", "pattern", "format"}},
       {"number", {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}}}};
  for (const auto& [type, keywords] : kHints) {
    for (const char* keyword : keywords) {
      if (schema.contains(keyword)) types.insert(type);
    }
  }
  return types.empty() ? kAllTypes : types;
}

bool SchemaDocument::Fail(const std::string& keyword, const std::string& why) {
  if (fault_.empty()) fault_ = keyword + ": " + why;
  return false;
}

const SchemaJson* SchemaDocument::Find(const std::string& reference) const {
  if (!reference.starts_with("#")) return nullptr;
  const SchemaJson* at = &root_;
  std::string rest = reference.substr(1);
  while (!rest.empty()) {
    if (rest[0] != '/') return nullptr;
    const size_t end = std::min(rest.find('/', 1), rest.size());
    const std::string part = Unescaped(rest.substr(1, end - 1));
    rest = rest.substr(end);
    if (at->is_object() && at->contains(part)) {
      at = &(*at)[part];
    } else if (at->is_array() && !part.empty() && part.size() < 6 &&
               part.find_first_not_of("0123456789") == std::string::npos &&
               std::stoul(part) < at->size()) {
      at = &(*at)[std::stoul(part)];
    } else {
      return nullptr;
    }
  }
  return at;
}

std::optional<SchemaJson> SchemaDocument::Flatten(const SchemaJson& schema) {
  if (!schema.is_object()) return schema;
  const bool refers = schema.contains("$ref"), joins = schema.contains("allOf");
  if (!refers && !joins) {
    SchemaJson out = schema;
    const auto nullable = out.find("nullable");
    if (nullable == out.end()) return out;
    const bool may_be_null = *nullable == true;
    out.erase("nullable");
    if (may_be_null && out.contains("type")) {
      SchemaJson types = SchemaJson::array();
      for (const std::string& type : TypesOf(out)) types.push_back(type);
      if (!Holds(types, "null")) types.push_back("null");
      out["type"] = types;
    }
    return out;
  }
  if (++depth_ > kDeepest) {
    return Fail("$ref", "schemas refer to each other without end"), std::nullopt;
  }
  SchemaJson rest = schema;
  rest.erase("$ref");
  rest.erase("allOf");
  std::optional<SchemaJson> out = rest;
  if (refers) {
    const SchemaJson* target =
        schema["$ref"].is_string() ? Find(schema["$ref"].get<std::string>()) : nullptr;
    if (target == nullptr) return Fail("$ref", "there is no such definition here"), std::nullopt;
    out = Merge(*out, *target);
  }
  if (joins) {
    if (!schema["allOf"].is_array()) return Fail("allOf", "expected an array"), std::nullopt;
    for (const SchemaJson& part : schema["allOf"]) {
      if (out) out = Merge(*out, part);
    }
  }
  --depth_;
  return out;
}

bool SchemaDocument::AddSchemaAt(SchemaJson& into, const std::string& key,
                                 const SchemaJson& value) {
  if (!into.contains(key)) {
    into[key] = value;
    return true;
  }
  auto merged = Merge(into[key], value);
  if (!merged) return false;
  into[key] = *std::move(merged);
  return true;
}

/// What one side does not name its additionalProperties speak of.
bool SchemaDocument::MergeProperties(SchemaJson& into, const SchemaJson& a, const SchemaJson& b) {
  SchemaJson properties = SchemaJson::object();
  for (const auto& [mine, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    const auto found = mine->find("properties");
    if (found == mine->end() || !found->is_object()) continue;
    const auto others = other->find("properties");
    for (const auto& [name, schema] : found->items()) {
      if (!AddSchemaAt(properties, name, schema)) return false;
      const bool named = others != other->end() && others->is_object() && others->contains(name);
      if (!named && other->contains("additionalProperties") &&
          !AddSchemaAt(properties, name, (*other)["additionalProperties"])) {
        return false;
      }
    }
  }
  if (a.contains("properties") || b.contains("properties")) into["properties"] = properties;
  return true;
}

bool SchemaDocument::MergeKeyword(SchemaJson& into, const std::string& key,
                                  const SchemaJson& value) {
  SchemaJson& mine = into[key];
  if (mine == value || IsAnnotation(key)) return true;
  if (key.starts_with("min") || key == "exclusiveMinimum" || key.starts_with("max") ||
      key == "exclusiveMaximum") {
    if (!mine.is_number() || !value.is_number()) return Fail(key, "expected a number");
    const bool larger = value.get<double>() > mine.get<double>();
    const bool wants_larger = key.starts_with("min") || key == "exclusiveMinimum";
    if (larger == wants_larger) mine = value;
    return true;
  }
  if (key == "required") {
    for (const SchemaJson& name : value) {
      if (!Holds(mine, name)) mine.push_back(name);
    }
    return true;
  }
  if (key == "enum") {
    SchemaJson both = SchemaJson::array();
    for (const SchemaJson& one : mine) {
      if (Holds(value, one)) both.push_back(one);
    }
    mine = both;
    return true;
  }
  if (key == "type") {
    const std::set<std::string> a = TypesOf({{"type", mine}}), b = TypesOf({{"type", value}});
    SchemaJson both = SchemaJson::array();
    for (const std::string& type : a) {
      const bool narrower = type == "integer" && b.contains("number");
      if (b.contains(type) || narrower) both.push_back(type);
      if (type == "number" && !b.contains("number") && b.contains("integer") &&
          !a.contains("integer")) {
        both.push_back("integer");
      }
    }
    mine = both;
    return true;
  }
  if (key == "items" || key == "additionalProperties") {
    auto merged = Merge(mine, value);
    if (!merged) return false;
    mine = *std::move(merged);
    return true;
  }
  return Fail(key, "different ones together cannot be guaranteed");
}

std::optional<SchemaJson> SchemaDocument::Merge(const SchemaJson& left, const SchemaJson& right) {
  if (left == false || right == false) return SchemaJson(false);
  if (left.is_boolean()) return right;
  if (right.is_boolean()) return left;
  if (!left.is_object() || !right.is_object()) {
    return Fail("allOf", "expected schemas"), std::nullopt;
  }
  if (++depth_ > kDeepest || ++merges_ > kMostMerges) {
    return Fail("allOf", "schemas refer to each other without end"), std::nullopt;
  }
  const auto a = Flatten(left), b = Flatten(right);
  if (!a || !b) return std::nullopt;
  if (!a->is_object() || !b->is_object()) return --depth_, Merge(*a, *b);
  SchemaJson out = *a;
  for (const auto& [key, value] : b->items()) {
    if (key == "properties") continue;
    if (!out.contains(key)) {
      out[key] = value;
    } else if (!MergeKeyword(out, key, value)) {
      return std::nullopt;
    }
  }
  if (!MergeProperties(out, *a, *b)) return std::nullopt;
  --depth_;
  return out;
}

bool SchemaDocument::AreDisjoint(const SchemaJson& left, const SchemaJson& right, int depth) {
  if (left == false || right == false) return true;
  constexpr int kDepth = 6;
  if (++comparisons_ > kMostComparisons || depth > kDepth || !left.is_object() ||
      !right.is_object())
    return false;
  SchemaDocument scratch(root_);  // a fault here is no fault of the schema
  const auto flat_a = scratch.Flatten(left), flat_b = scratch.Flatten(right);
  if (!flat_a || !flat_b || !flat_a->is_object() || !flat_b->is_object()) return false;
  const SchemaJson &a = *flat_a, &b = *flat_b;
  for (const char* key : {"anyOf", "oneOf"}) {
    for (const auto& [one, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
      const auto ways = one->find(key);
      if (ways == one->end() || !ways->is_array()) continue;
      const auto excludes = [&, whole = other](const SchemaJson& way) {
        return AreDisjoint(way, *whole, depth + 1);
      };
      if (std::all_of(ways->begin(), ways->end(), excludes)) {
        return true;
      }
    }
  }
  const auto values_a = NamedValues(a), values_b = NamedValues(b);
  if (values_a && values_b) {
    return std::none_of(values_a->begin(), values_a->end(), [&](const SchemaJson& value) {
      return std::find(values_b->begin(), values_b->end(), value) != values_b->end();
    });
  }
  // Only a stated type excludes others.
  const bool typed_a = a.contains("type") || values_a, typed_b = b.contains("type") || values_b;
  if (!typed_a || !typed_b) return false;
  std::set<std::string> types_a = TypesOf(a), types_b = TypesOf(b);
  if (types_a.contains("number")) types_a.insert("integer");
  if (types_b.contains("number")) types_b.insert("integer");
  std::vector<std::string> common;
  std::set_intersection(types_a.begin(), types_a.end(), types_b.begin(), types_b.end(),
                        std::back_inserter(common));
  if (common.empty()) return true;
  if (std::all_of(common.begin(), common.end(),
                  [](const std::string& t) { return t == "integer" || t == "number"; })) {
    return Bound(a, "maximum", INFINITY) < Bound(b, "minimum", -INFINITY) ||
           Bound(b, "maximum", INFINITY) < Bound(a, "minimum", -INFINITY);
  }
  if (common.size() != 1) return false;
  if (common.front() == "string") {
    return Bound(a, "maxLength", INFINITY) < Bound(b, "minLength", 0) ||
           Bound(b, "maxLength", INFINITY) < Bound(a, "minLength", 0);
  }
  if (common.front() == "array") {
    return Bound(a, "maxItems", INFINITY) < Bound(b, "minItems", 0) ||
           Bound(b, "maxItems", INFINITY) < Bound(a, "minItems", 0);
  }
  if (common.front() != "object") return false;
  for (const auto& [one, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    if (!one->contains("required") || !(*one)["required"].is_array()) continue;
    for (const SchemaJson& required : (*one)["required"]) {
      if (!required.is_string()) continue;
      const auto name = required.get<std::string>();
      const auto theirs = other->find("properties");
      const bool known = theirs != other->end() && theirs->is_object() && theirs->contains(name);
      if (!known && other->contains("additionalProperties") &&
          (*other)["additionalProperties"] == false) {
        return true;
      }
      const auto mine = one->find("properties");
      if (!known || mine == one->end() || !mine->contains(name) || !Requires(*other, name))
        continue;
      if (AreDisjoint((*mine)[name], (*theirs)[name], depth + 1)) return true;
    }
  }
  return false;
}

}  // namespace octet
