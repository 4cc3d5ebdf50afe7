#include "constrain/program.h"

#include <algorithm>
#include <deque>
#include <queue>

#include "constrain/utf8_ranges.h"

namespace octet {
namespace {

using Op = ProgramNode::Op;

constexpr size_t kMostNodes = 400'000;

/// Emits from the end: every expression is told which node follows it.
class Compiler {
 public:
  explicit Compiler(const Grammar& grammar) : grammar_(grammar) {}

  Result<Program> Run();

 private:
  struct Pending {
    int32_t rule;
    ExprId body;
  };
  int32_t Add(Op op, int32_t next, int32_t other = -1);
  int32_t AddByte(ByteRange range, int32_t next);
  int32_t Emit(ExprId id, int32_t next);
  int32_t EmitClass(const CodePointSet& ranges, int32_t next);
  int32_t EmitRepeat(const Expr& expr, int32_t next);
  int32_t EmitAlternatives(std::span<const int32_t> entries);
  bool IsSmall(ExprId id) const;
  void FindByteClasses();

  const Grammar& grammar_;
  Program program_;
  std::deque<Pending> pending_;
  bool too_large_ = false;
};

int32_t Compiler::Add(Op op, int32_t next, int32_t other) {
  if (program_.nodes.size() >= kMostNodes) {
    too_large_ = true;
    return 0;
  }
  program_.nodes.push_back({op, 0, 0, next, other});
  return static_cast<int32_t>(program_.nodes.size()) - 1;
}

int32_t Compiler::AddByte(ByteRange range, int32_t next) {
  const int32_t node = Add(Op::kByte, next);
  if (too_large_) return node;
  program_.nodes.back().lo = range.lo;
  program_.nodes.back().hi = range.hi;
  return node;
}

int32_t Compiler::EmitAlternatives(std::span<const int32_t> entries) {
  // A byte of an empty range: no way.
  if (entries.empty()) return AddByte({1, 0}, 0);
  int32_t entry = entries.back();
  for (size_t i = entries.size() - 1; i-- > 0;) entry = Add(Op::kSplit, entries[i], entry);
  return entry;
}

int32_t Compiler::EmitClass(const CodePointSet& ranges, int32_t next) {
  std::vector<int32_t> entries;
  for (const Utf8Sequence& sequence : Utf8Sequences(ranges)) {
    int32_t entry = next;
    for (int32_t i = sequence.length; i-- > 0;) {
      entry = AddByte(sequence.bytes[static_cast<size_t>(i)], entry);
    }
    entries.push_back(entry);
    if (too_large_) break;
  }
  return EmitAlternatives(entries);
}

bool Compiler::IsSmall(ExprId id) const {
  const Expr& expr = grammar_.exprs[static_cast<size_t>(id)];
  if (expr.kind == Expr::Kind::kRule) return true;
  if (expr.kind == Expr::Kind::kLiteral) return expr.bytes.size() <= 1;
  return expr.kind == Expr::Kind::kClass && expr.ranges.size() <= 1 &&
         (expr.ranges.empty() || expr.ranges.back().last < 0x80);
}

/// Copies of anything large are calls of one rule.
int32_t Compiler::EmitRepeat(const Expr& expr, int32_t next) {
  ExprId child = expr.children.front();
  const int32_t copies = expr.max < 0 ? expr.min + 1 : expr.max;
  int32_t shared = -1;
  if (copies > 2 && !IsSmall(child)) {
    shared = static_cast<int32_t>(program_.starts.size());
    program_.starts.push_back(-1);
    pending_.push_back({shared, child});
  }
  const auto one = [&](int32_t then) {
    return shared >= 0 ? Add(Op::kCall, then, shared) : Emit(child, then);
  };
  int32_t entry = next;
  if (expr.max < 0) {
    const int32_t loop = Add(Op::kSplit, -1, next);
    const int32_t body = one(loop);
    if (too_large_) return 0;
    program_.nodes[static_cast<size_t>(loop)].next = body;
    entry = loop;
  } else {
    for (int32_t i = expr.min; i < expr.max && !too_large_; ++i) {
      entry = Add(Op::kSplit, one(entry), next);
    }
  }
  for (int32_t i = 0; i < expr.min && !too_large_; ++i) entry = one(entry);
  return entry;
}

int32_t Compiler::Emit(ExprId id, int32_t next) {
  if (too_large_) return 0;
  const Expr& expr = grammar_.exprs[static_cast<size_t>(id)];
  switch (expr.kind) {
    case Expr::Kind::kLiteral:
      for (size_t i = expr.bytes.size(); i-- > 0;) {
        const auto byte = static_cast<uint8_t>(expr.bytes[i]);
        next = AddByte({byte, byte}, next);
      }
      return next;
    case Expr::Kind::kClass:
      return EmitClass(expr.ranges, next);
    case Expr::Kind::kRule:
      return Add(Op::kCall, next, expr.rule);
    case Expr::Kind::kSequence:
      for (size_t i = expr.children.size(); i-- > 0;) next = Emit(expr.children[i], next);
      return next;
    case Expr::Kind::kAlternatives: {
      std::vector<int32_t> entries;
      for (const ExprId child : expr.children) entries.push_back(Emit(child, next));
      return EmitAlternatives(entries);
    }
    case Expr::Kind::kRepeat:
      return EmitRepeat(expr, next);
  }
  return next;
}

void Compiler::FindByteClasses() {
  std::array<bool, 257> begins = {};
  for (const ProgramNode& node : program_.nodes) {
    if (node.op != Op::kByte) continue;
    begins[node.lo] = true;
    begins[static_cast<size_t>(node.hi) + 1] = true;
  }
  int32_t current = 0;
  for (size_t b = 0; b < 256; ++b) {
    if (b > 0 && begins[b]) ++current;
    program_.byte_class[b] = static_cast<uint8_t>(current);
  }
  program_.n_classes = current + 1;
}

/// Rules that a rule may call before it has taken a byte.
std::vector<std::vector<int32_t>> LeftCalls(const Program& program,
                                            const std::vector<int64_t>& cost) {
  std::vector<std::vector<int32_t>> calls(program.starts.size());
  std::vector<int32_t> seen(program.nodes.size(), -1), work;
  for (size_t rule = 0; rule < program.starts.size(); ++rule) {
    work.push_back(program.starts[rule]);
    while (!work.empty()) {
      const int32_t at = work.back();
      work.pop_back();
      if (seen[static_cast<size_t>(at)] == static_cast<int32_t>(rule)) continue;
      seen[static_cast<size_t>(at)] = static_cast<int32_t>(rule);
      const ProgramNode& node = program.nodes[static_cast<size_t>(at)];
      if (node.op == Op::kSplit) {
        work.push_back(node.next);
        work.push_back(node.other);
      } else if (node.op == Op::kCall) {
        calls[rule].push_back(node.other);
        const int32_t start = program.starts[static_cast<size_t>(node.other)];
        if (cost[static_cast<size_t>(start)] == 0) work.push_back(node.next);
      }
    }
  }
  return calls;
}

/// A rule on a cycle of left calls, or -1.
int32_t FindCycle(const std::vector<std::vector<int32_t>>& calls) {
  enum : uint8_t { kNew, kOpen, kDone };
  std::vector<uint8_t> state(calls.size(), kNew);
  std::vector<std::pair<int32_t, size_t>> stack;  // rule, next of its calls
  for (size_t first = 0; first < calls.size(); ++first) {
    if (state[first] != kNew) continue;
    stack.emplace_back(static_cast<int32_t>(first), 0);
    while (!stack.empty()) {
      const auto rule = static_cast<size_t>(stack.back().first);
      state[rule] = kOpen;
      if (stack.back().second == calls[rule].size()) {
        state[rule] = kDone;
        stack.pop_back();
        continue;
      }
      const int32_t callee = calls[rule][stack.back().second++];
      if (state[static_cast<size_t>(callee)] == kOpen) return callee;
      if (state[static_cast<size_t>(callee)] == kNew) stack.emplace_back(callee, 0);
    }
  }
  return -1;
}

Result<Program> Compiler::Run() {
  program_.starts.assign(grammar_.rules.size(), -1);
  program_.root = grammar_.root;
  for (size_t i = 0; i < grammar_.rules.size(); ++i) {
    pending_.push_back({static_cast<int32_t>(i), grammar_.rules[i].body});
  }
  while (!pending_.empty() && !too_large_) {
    const Pending job = pending_.front();
    pending_.pop_front();
    const int32_t entry = Emit(job.body, Add(Op::kEnd, -1));
    program_.starts[static_cast<size_t>(job.rule)] = entry;
  }
  if (too_large_) {
    return Err(ErrorCode::kInvalidArgument,
               "the grammar has more than {} steps; use smaller counts or fewer rules", kMostNodes);
  }
  FindByteClasses();
  std::array<bool, 256> all;
  all.fill(true);
  const std::vector<int64_t> cost = CompletionCosts(program_, all, {});
  const auto where = [&](int32_t rule) {
    if (rule >= static_cast<int32_t>(grammar_.rules.size())) return std::string("a repetition");
    const GrammarRule& r = grammar_.rules[static_cast<size_t>(rule)];
    return r.line > 0 ? fmt::format("line {}: rule \"{}\"", r.line, r.name)
                      : fmt::format("\"{}\"", r.name);
  };
  if (const int32_t rule = FindCycle(LeftCalls(program_, cost)); rule >= 0) {
    return Err(ErrorCode::kInvalidArgument,
               "{} begins with itself (left recursion); begin with what is fixed, such as "
               "a ::= b (\",\" b)*",
               where(rule));
  }
  const int32_t start = program_.starts[static_cast<size_t>(program_.root)];
  if (cost[static_cast<size_t>(start)] >= kNever) {
    return Err(ErrorCode::kInvalidArgument,
               "{} is matched by no text: every way through it needs itself again, or nothing fits",
               where(program_.root));
  }
  return std::move(program_);
}

/// Who depends on a node's cost: compressed rows.
struct Dependents {
  std::vector<int32_t> first, list;  // [nodes + 1]

  template <class ForEachPair>
  Dependents(size_t n, ForEachPair for_each) : first(n + 1, 0) {
    for_each([&](int32_t on, int32_t) { ++first[static_cast<size_t>(on) + 1]; });
    for (size_t i = 0; i < n; ++i) first[i + 1] += first[i];
    list.resize(static_cast<size_t>(first[n]));
    std::vector<int32_t> at(first.begin(), first.end() - 1);
    for_each([&](int32_t on, int32_t who) {
      list[static_cast<size_t>(at[static_cast<size_t>(on)]++)] = who;
    });
  }
};

bool TakesAny(const ProgramNode& node, const std::array<bool, 256>& takes) {
  for (int b = node.lo; b <= node.hi; ++b) {
    if (takes[static_cast<size_t>(b)]) return true;
  }
  return false;
}

}  // namespace

Result<Program> CompileGrammar(const Grammar& grammar) { return Compiler(grammar).Run(); }

std::vector<int64_t> CompletionCosts(const Program& program, const std::array<bool, 256>& takes,
                                     std::span<const Shortcut> shortcuts) {
  const size_t n = program.nodes.size();
  // A shortcut's dependent is written as -1 - node: it costs a token more than what it leads to.
  const Dependents dependents(n, [&](auto add) {
    for (size_t i = 0; i < n; ++i) {
      const ProgramNode& node = program.nodes[i];
      const auto who = static_cast<int32_t>(i);
      if (node.op == Op::kEnd) continue;
      if (node.op == Op::kByte && !TakesAny(node, takes)) continue;
      add(node.next, who);
      if (node.op == Op::kSplit) add(node.other, who);
      if (node.op == Op::kCall) add(program.starts[static_cast<size_t>(node.other)], who);
    }
    for (const Shortcut& s : shortcuts) add(s.to, -1 - s.from);
  });
  std::vector<int64_t> cost(n, kNever);
  std::vector<bool> done(n, false);
  using Entry = std::pair<int64_t, int32_t>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
  const auto offer = [&](int64_t c, int32_t node) {
    const auto at = static_cast<size_t>(node);
    if (c >= cost[at]) return;
    cost[at] = c;
    queue.emplace(c, node);
  };
  for (size_t i = 0; i < n; ++i) {
    if (program.nodes[i].op == Op::kEnd) offer(0, static_cast<int32_t>(i));
  }
  while (!queue.empty()) {
    const auto [c, settled] = queue.top();
    queue.pop();
    const auto at = static_cast<size_t>(settled);
    if (done[at]) continue;
    done[at] = true;
    for (int32_t d = dependents.first[at]; d < dependents.first[at + 1]; ++d) {
      const int32_t who = dependents.list[static_cast<size_t>(d)];
      if (who < 0) {
        offer(c + 1, -1 - who);
        continue;
      }
      const ProgramNode& node = program.nodes[static_cast<size_t>(who)];
      if (node.op != Op::kCall) {
        offer(node.op == Op::kByte ? c + 1 : c, who);
        continue;
      }
      const auto callee = static_cast<size_t>(program.starts[static_cast<size_t>(node.other)]);
      const auto next = static_cast<size_t>(node.next);
      if (done[callee] && done[next]) offer(std::min(kNever, cost[callee] + cost[next]), who);
    }
  }
  return cost;
}

}  // namespace octet
