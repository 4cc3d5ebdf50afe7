// A grammar as a machine over bytes: nodes that take a byte, branch, or call a rule.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "constrain/grammar.h"

namespace octet {

struct ProgramNode {
  enum class Op : uint8_t {
    kByte,   // one byte in [lo, hi], then `next`
    kSplit,  // `next` or `other`, without a byte
    kCall,   // rule `other`, then `next`
    kEnd,    // of the rule
  };
  Op op = Op::kEnd;
  uint8_t lo = 0, hi = 0;
  int32_t next = -1, other = -1;
};

/// What no number of tokens completes. Sums of a few of them do not overflow.
inline constexpr int64_t kNever = int64_t{1} << 60;

struct Program {
  std::vector<ProgramNode> nodes;
  std::vector<int32_t> starts;  // [rules] the node a rule begins with
  int32_t root = 0;             // a rule
  /// Bytes that no node tells apart share a class.
  std::array<uint8_t, 256> byte_class = {};
  int32_t n_classes = 0;
};

/// kInvalidArgument: a rule that calls itself before it takes a byte (left recursion), a root that
/// no text completes, or a grammar of too many nodes; names the rule and its line.
Result<Program> CompileGrammar(const Grammar& grammar);

/// A way of several bytes from a node to another of the same rule that costs one token.
struct Shortcut {
  int32_t from = -1, to = -1;
};

/// [nodes] The least cost from a node to the end of its rule, kNever where there is no way. A byte
/// node costs 1 where `takes[byte]` holds for a byte it takes, else there is no way through it.
/// Knuth 1977, "A generalization of Dijkstra's algorithm".
std::vector<int64_t> CompletionCosts(const Program& program, const std::array<bool, 256>& takes,
                                     std::span<const Shortcut> shortcuts);

}  // namespace octet
