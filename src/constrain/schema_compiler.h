// From a schema's keywords to expressions: schema.cc, and schema_object.cc for objects.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "constrain/json_grammar.h"
#include "constrain/schema_merge.h"

namespace octet {

class SchemaCompiler {
 public:
  SchemaCompiler(const SchemaJson& root, GrammarBuilder& builder, JsonParts& parts)
      : document_(root), builder_(builder), parts_(parts) {}

  Result<ExprId> Run();

 private:
  struct Pending {
    int32_t rule;
    const SchemaJson* schema;
    std::string at;
  };
  bool ok() const { return fault_.empty(); }
  ExprId Fail(const std::string& at, const std::string& why) {
    if (ok()) fault_ = fmt::format("schema, {}: {}", at, why);
    return 0;
  }
  ExprId Compile(const SchemaJson& schema, const std::string& at);
  ExprId CompileReference(const std::string& reference, const std::string& at);
  ExprId CompileChoice(const SchemaJson& schema, const char* key, const std::string& at);
  ExprId CompileValues(const SchemaJson& schema, const std::string& at);
  ExprId CompileType(const SchemaJson& schema, const std::string& type, const std::string& at);
  ExprId CompileObject(const SchemaJson& schema, const std::string& at);
  ExprId CompileArray(const SchemaJson& schema, const std::string& at);
  ExprId CompileString(const SchemaJson& schema, const std::string& at);
  ExprId CompileNumber(const SchemaJson& schema, bool integer, const std::string& at);
  ExprId Multiples(const SchemaJson& schema, int64_t low, int64_t high, const std::string& at);
  bool CheckKeywords(const SchemaJson& schema, const std::string& at);

  struct Member {
    ExprId expr;
    bool required;
  };
  bool ReadMembers(const SchemaJson& schema, const std::string& at, std::vector<Member>& members);
  ExprId ExtraMember(const SchemaJson& schema, const std::string& at);
  ExprId KeyBeside(const std::vector<std::string>& names);
  ExprId KeyBelow(const std::vector<std::u32string>& names, size_t begin, size_t end, size_t depth);
  ExprId Chain(const std::vector<Member>& members, ExprId extra, int32_t most_extra);
  int64_t Count(const SchemaJson& schema, const char* key, int64_t otherwise,
                const std::string& at);

  SchemaDocument document_;
  GrammarBuilder& builder_;
  JsonParts& parts_;
  std::map<std::string, int32_t> rules_;  // by reference
  std::deque<Pending> pending_;
  std::string fault_;
  int depth_ = 0;
};

}  // namespace octet
