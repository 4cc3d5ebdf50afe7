// What JSON schemas say together.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>

namespace octet {

using SchemaJson = nlohmann::ordered_json;

/// A keyword that only describes.
bool IsAnnotation(const std::string& keyword);
/// Whether a schema says nothing but annotations and definitions.
bool SaysNothing(const SchemaJson& schema);

/// The types an instance may have, of "object", "array", "string", "number", "integer", "boolean",
/// "null"; without a "type" those that the keywords speak of, or all.
std::set<std::string> TypesOf(const SchemaJson& schema);

/// The definitions a schema refers to.
class SchemaDocument {
 public:
  explicit SchemaDocument(const SchemaJson& root) : root_(root) {}
  const SchemaJson& root() const { return root_; }
  /// "#/$defs/x"; null when there is none.
  const SchemaJson* Find(const std::string& reference) const;

  /// Both at once, with references and allOf resolved: nullopt, and a reason with a keyword, where
  /// that cannot be said by one schema.
  std::optional<SchemaJson> Merge(const SchemaJson& a, const SchemaJson& b);
  /// A schema without $ref and allOf at its top.
  std::optional<SchemaJson> Flatten(const SchemaJson& schema);
  const std::string& fault() const { return fault_; }

  /// Whether surely no instance is of both.
  bool AreDisjoint(const SchemaJson& a, const SchemaJson& b, int depth = 0);

 private:
  bool MergeKeyword(SchemaJson& into, const std::string& key, const SchemaJson& value);
  bool MergeProperties(SchemaJson& into, const SchemaJson& a, const SchemaJson& b);
  bool AddSchemaAt(SchemaJson& into, const std::string& key, const SchemaJson& value);
  bool Fail(const std::string& keyword, const std::string& why);

  const SchemaJson& root_;
  std::string fault_;
  int depth_ = 0;
  int merges_ = 0;
  int comparisons_ = 0;
};

}  // namespace octet
