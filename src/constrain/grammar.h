// A context-free grammar over Unicode text: what a constrained answer must be. Made from GBNF
// (gbnf.h), from a JSON schema (schema.h) or for tool calls (tool_grammar.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace octet {

struct CodePointRange {
  char32_t first = 0, last = 0;  // inclusive
};

inline constexpr char32_t kLastCodePoint = 0x10FFFF;

/// Sorted, disjoint, in [0, kLastCodePoint].
using CodePointSet = std::vector<CodePointRange>;
CodePointSet Normalised(CodePointSet ranges);
/// All code points but these (and but surrogates, which no UTF-8 text holds).
CodePointSet Complement(const CodePointSet& ranges);
CodePointSet Intersection(const CodePointSet& a, const CodePointSet& b);

using ExprId = int32_t;

struct Expr {
  enum class Kind : uint8_t { kLiteral, kClass, kRule, kSequence, kAlternatives, kRepeat };
  Kind kind = Kind::kLiteral;
  std::string bytes;             // kLiteral: UTF-8, empty for the empty text
  CodePointSet ranges;           // kClass: one character of these; never matches when empty
  std::vector<ExprId> children;  // kSequence, kAlternatives; one of kRepeat
  int32_t rule = -1;             // kRule
  int32_t min = 0, max = -1;     // kRepeat; max -1: any number
};

struct GrammarRule {
  std::string name;
  ExprId body = -1;
  int32_t line = 0;  // of the source where it has lines; 0: none
};

struct Grammar {
  std::vector<Expr> exprs;
  std::vector<GrammarRule> rules;
  int32_t root = 0;
};

/// Largest count of a repetition.
inline constexpr int32_t kMostRepeats = 1 << 16;

/// Puts a grammar together. Never fails half-way: a grammar that grows too large is reported by
/// Finish.
class GrammarBuilder {
 public:
  ExprId Literal(std::string_view bytes);
  ExprId Class(CodePointSet ranges);
  ExprId Sequence(std::vector<ExprId> children);
  /// No alternatives at all match nothing.
  ExprId Alternatives(std::vector<ExprId> children);
  ExprId Repeat(ExprId child, int32_t min, int32_t max);
  ExprId Optional(ExprId child) { return Repeat(child, 0, 1); }
  ExprId Rule(int32_t rule);
  ExprId Empty() { return Literal({}); }

  int32_t DeclareRule(std::string name, int32_t line = 0);
  void DefineRule(int32_t rule, ExprId body);
  /// A rule of its own for `body`, to be used many times.
  ExprId Shared(std::string name, ExprId body);
  const Grammar& grammar() const { return grammar_; }

  /// kInvalidArgument: too large.
  Result<Grammar> Finish(int32_t root);
  bool too_large() const { return too_large_; }

 private:
  ExprId Add(Expr expr);

  Grammar grammar_;
  bool too_large_ = false;
  size_t bytes_ = 0;
};

}  // namespace octet
