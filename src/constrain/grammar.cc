#include "constrain/grammar.h"

#include <algorithm>

#include "base/check.h"

namespace octet {
namespace {

// A grammar's expressions stay below 100 MB.
constexpr size_t kMostExprs = 200'000;
constexpr size_t kMostBytes = 8u << 20;

constexpr CodePointRange kSurrogates = {0xD800, 0xDFFF};

}  // namespace

CodePointSet Normalised(CodePointSet ranges) {
  std::erase_if(ranges, [](const CodePointRange& r) { return r.first > r.last; });
  std::sort(ranges.begin(), ranges.end(),
            [](const CodePointRange& a, const CodePointRange& b) { return a.first < b.first; });
  CodePointSet out;
  for (const CodePointRange& r : ranges) {
    if (!out.empty() && r.first <= out.back().last + 1) {
      out.back().last = std::max(out.back().last, r.last);
    } else {
      out.push_back(r);
    }
  }
  return out;
}

CodePointSet Complement(const CodePointSet& ranges) {
  CodePointSet with_surrogates = ranges;
  with_surrogates.push_back(kSurrogates);
  CodePointSet out;
  char32_t next = 0;
  for (const CodePointRange& r : Normalised(std::move(with_surrogates))) {
    if (r.first > next) out.push_back({next, r.first - 1});
    next = r.last + 1;
  }
  if (next <= kLastCodePoint) out.push_back({next, kLastCodePoint});
  return out;
}

CodePointSet Intersection(const CodePointSet& a, const CodePointSet& b) {
  CodePointSet out;
  for (const CodePointRange& x : a) {
    for (const CodePointRange& y : b) {
      const char32_t first = std::max(x.first, y.first), last = std::min(x.last, y.last);
      if (first <= last) out.push_back({first, last});
    }
  }
  return Normalised(std::move(out));
}

ExprId GrammarBuilder::Add(Expr expr) {
  bytes_ += expr.bytes.size() + expr.ranges.size() * sizeof(CodePointRange) +
            expr.children.size() * sizeof(ExprId);
  if (grammar_.exprs.size() >= kMostExprs || bytes_ > kMostBytes) {
    too_large_ = true;
    return 0;
  }
  grammar_.exprs.push_back(std::move(expr));
  return static_cast<ExprId>(grammar_.exprs.size()) - 1;
}

ExprId GrammarBuilder::Literal(std::string_view bytes) {
  Expr expr;
  expr.bytes = bytes;
  return Add(std::move(expr));
}

ExprId GrammarBuilder::Class(CodePointSet ranges) {
  Expr expr;
  expr.kind = Expr::Kind::kClass;
  expr.ranges = Normalised(std::move(ranges));
  return Add(std::move(expr));
}

ExprId GrammarBuilder::Sequence(std::vector<ExprId> children) {
  if (children.size() == 1) return children.front();
  Expr expr;
  expr.kind = Expr::Kind::kSequence;
  expr.children = std::move(children);
  return Add(std::move(expr));
}

ExprId GrammarBuilder::Alternatives(std::vector<ExprId> children) {
  if (children.size() == 1) return children.front();
  Expr expr;
  expr.kind = Expr::Kind::kAlternatives;
  expr.children = std::move(children);
  return Add(std::move(expr));
}

ExprId GrammarBuilder::Repeat(ExprId child, int32_t min, int32_t max) {
  if (min == 1 && max == 1) return child;
  Expr expr;
  expr.kind = Expr::Kind::kRepeat;
  expr.children = {child};
  expr.min = min;
  expr.max = max;
  return Add(std::move(expr));
}

ExprId GrammarBuilder::Rule(int32_t rule) {
  Expr expr;
  expr.kind = Expr::Kind::kRule;
  expr.rule = rule;
  return Add(std::move(expr));
}

int32_t GrammarBuilder::DeclareRule(std::string name, int32_t line) {
  bytes_ += name.size() + sizeof(GrammarRule);
  grammar_.rules.push_back({std::move(name), -1, line});
  return static_cast<int32_t>(grammar_.rules.size()) - 1;
}

void GrammarBuilder::DefineRule(int32_t rule, ExprId body) {
  grammar_.rules[static_cast<size_t>(rule)].body = body;
}

ExprId GrammarBuilder::Shared(std::string name, ExprId body) {
  const int32_t rule = DeclareRule(std::move(name));
  DefineRule(rule, body);
  return Rule(rule);
}

Result<Grammar> GrammarBuilder::Finish(int32_t root) {
  if (too_large_ || bytes_ > kMostBytes) {
    return Err(ErrorCode::kInvalidArgument,
               "the grammar has more than {} parts or {} bytes; make it simpler", kMostExprs,
               kMostBytes);
  }
  for (const GrammarRule& rule : grammar_.rules) CHECK(rule.body >= 0);
  grammar_.root = root;
  return std::move(grammar_);
}

}  // namespace octet
