#include "constrain/automaton.h"

#include <algorithm>

#include "base/check.h"

namespace octet {
namespace {

using Op = ProgramNode::Op;

constexpr int32_t kUnknown = -2;
constexpr int32_t kNoFrame = -1;

/// Places of one state. A grammar that is ambiguous beyond it loses the dearest of them: what is
/// produced then is still of the grammar, and what completes it soonest is kept.
constexpr size_t kMostConfigs = 512;
/// Places looked at while making one state.
constexpr int64_t kMostVisited = 8192;
constexpr size_t kSeenSlots = 1 << 15;  // a power of two, several times as many
/// Of one walk over the vocabulary; beyond it only single bytes are asked. A usual grammar needs a
/// tenth.
constexpr int64_t kMostWork = 1'000'000;

constexpr size_t kMostStates = 1 << 15;
constexpr size_t kMostCachedBytes = 16u << 20;

uint64_t Mix(uint64_t a, uint64_t b) {
  uint64_t x = a ^ (b + 0x9E3779B97F4A7C15u + (a << 6) + (a >> 2));
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

/// Tokens of several bytes that run along a grammar's literals.
std::vector<Shortcut> FindShortcuts(const Program& program, const TokenTrie& trie) {
  const auto nodes = trie.nodes();
  std::vector<Shortcut> shortcuts;
  const auto is_literal = [&](int32_t at) {
    const ProgramNode& node = program.nodes[static_cast<size_t>(at)];
    return node.op == Op::kByte && node.lo == node.hi;
  };
  for (size_t i = 0; i < program.nodes.size(); ++i) {
    const auto from = static_cast<int32_t>(i);
    auto at = from;
    auto below = size_t{0}, end = nodes.size();
    while (is_literal(at)) {
      const ProgramNode& node = program.nodes[static_cast<size_t>(at)];
      while (below < end && nodes[below].byte != node.lo) {
        below = static_cast<size_t>(nodes[below].skip);
      }
      if (below >= end) break;
      at = node.next;
      if (nodes[below].n_tokens > 0 && nodes[below].depth > 0) shortcuts.push_back({from, at});
      end = static_cast<size_t>(nodes[below].skip);
      ++below;
    }
  }
  return shortcuts;
}

}  // namespace

Automaton::Automaton(Program program, const TokenTrie& trie)
    : program_(std::move(program)),
      trie_(trie),
      node_cost_(CompletionCosts(program_, trie.single_bytes(), FindShortcuts(program_, trie))),
      narrow_(trie.mask_words()),
      seen_(kSeenSlots),
      seen_stamp_(kSeenSlots, 0) {
  start_ = MakeStart();
}

int64_t Automaton::CostOf(const Config& c) const {
  const int64_t rest = c.frame == kNoFrame ? 0 : frames_[static_cast<size_t>(c.frame)].cost;
  return std::min(kNever, node_cost_[static_cast<size_t>(c.node)] + rest);
}

uint64_t Automaton::HashOf(int32_t frame) const {
  return frame == kNoFrame ? 0 : frames_[static_cast<size_t>(frame)].hash;
}

int32_t Automaton::Push(int32_t node, int32_t parent) {
  // A call at the end of a rule returns to where that one returns to.
  if (program_.nodes[static_cast<size_t>(node)].op == Op::kEnd) return parent;
  const uint64_t hash = Mix(HashOf(parent) + 1, static_cast<uint64_t>(node));
  const auto [begin, end] = frame_ids_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    const Frame& frame = frames_[static_cast<size_t>(it->second)];
    if (frame.node == node && frame.parent == parent) return it->second;
  }
  const auto id = static_cast<int32_t>(frames_.size());
  frames_.push_back({node, parent, CostOf({node, parent}), hash});
  frame_ids_.emplace(hash, id);
  return id;
}

bool Automaton::Seen(const Config& config) {
  const uint64_t key = (static_cast<uint64_t>(static_cast<uint32_t>(config.node)) << 32) |
                       static_cast<uint32_t>(config.frame);
  const size_t mask = seen_.size() - 1;
  size_t at = Mix(key, 0) & mask;
  for (; seen_stamp_[at] == stamp_; at = (at + 1) & mask) {
    if (seen_[at] == key) return true;
  }
  seen_[at] = key;
  seen_stamp_[at] = stamp_;
  return false;
}

void Automaton::Visit(const Config& config, std::vector<Config>& work) {
  const ProgramNode& node = program_.nodes[static_cast<size_t>(config.node)];
  switch (node.op) {
    case Op::kByte:
      next_.push_back(config);
      return;
    case Op::kSplit:
      work.push_back({node.other, config.frame});
      work.push_back({node.next, config.frame});
      return;
    case Op::kCall:
      work.push_back(
          {program_.starts[static_cast<size_t>(node.other)], Push(node.next, config.frame)});
      return;
    case Op::kEnd:
      if (config.frame == kNoFrame) {
        next_accepting_ = true;
      } else {
        const Frame& frame = frames_[static_cast<size_t>(config.frame)];
        work.push_back({frame.node, frame.parent});
      }
      return;
  }
}

/// Everything that can be reached from `work` without a byte: fills in next_.
void Automaton::Close(std::vector<Config>& work) {
  next_.clear();
  next_accepting_ = false;
  visited_ = 0;
  ++stamp_;
  if (stamp_ == 0) {
    std::fill(seen_stamp_.begin(), seen_stamp_.end(), 0);
    stamp_ = 1;
  }
  while (!work.empty() && visited_ < kMostVisited) {
    const Config config = work.back();
    work.pop_back();
    if (Seen(config)) continue;
    ++visited_;
    Visit(config, work);
  }
  work.clear();
}

void Automaton::Truncate() {
  const auto less = [&](const Config& a, const Config& b) {
    const int64_t ca = CostOf(a), cb = CostOf(b);
    if (ca != cb) return ca < cb;
    return a.node != b.node ? a.node < b.node : HashOf(a.frame) < HashOf(b.frame);
  };
  std::nth_element(next_.begin(), next_.begin() + kMostConfigs, next_.end(), less);
  next_.resize(kMostConfigs);
}

/// The state of next_.
int32_t Automaton::Intern() {
  if (next_.size() > kMostConfigs) Truncate();
  if (next_.empty() && !next_accepting_) return kDead;
  std::sort(next_.begin(), next_.end(), [&](const Config& a, const Config& b) {
    if (a.node != b.node) return a.node < b.node;
    const uint64_t ha = HashOf(a.frame), hb = HashOf(b.frame);
    return ha != hb ? ha < hb : a.frame < b.frame;
  });
  uint64_t hash = next_accepting_ ? 1 : 0;
  for (const Config& c : next_) {
    hash = Mix(Mix(hash, static_cast<uint64_t>(c.node)), static_cast<uint64_t>(c.frame) + 1);
  }
  const auto [begin, end] = state_ids_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    const State& s = At(it->second);
    const auto first = configs_.begin() + s.first_config;
    if (s.accepting == next_accepting_ && static_cast<size_t>(s.n_configs) == next_.size() &&
        std::equal(next_.begin(), next_.end(), first)) {
      return it->second;
    }
  }
  State state;
  state.first_config = static_cast<int32_t>(configs_.size());
  state.n_configs = static_cast<int32_t>(next_.size());
  state.accepting = next_accepting_;
  state.cost = next_accepting_ ? 0 : kNever;
  for (const Config& c : next_) state.cost = std::min(state.cost, CostOf(c));
  state.work = 1 + state.n_configs / 4;
  configs_.insert(configs_.end(), next_.begin(), next_.end());
  const auto id = static_cast<int32_t>(states_.size());
  states_.push_back(state);
  rows_.resize(rows_.size() + static_cast<size_t>(program_.n_classes), kUnknown);
  state_ids_.emplace(hash, id);
  return id;
}

int32_t Automaton::MakeStart() {
  const int32_t node = program_.starts[static_cast<size_t>(program_.root)];
  work_.push_back({node, kNoFrame});
  Close(work_);
  const int32_t state = Intern();
  CHECK(state != kDead);  // CompileGrammar refuses a grammar without texts
  return state;
}

int32_t Automaton::Step(int32_t state, uint8_t byte) {
  const size_t slot = static_cast<size_t>(state) * static_cast<size_t>(program_.n_classes) +
                      program_.byte_class[byte];
  if (rows_[slot] != kUnknown) return rows_[slot];
  const State from = At(state);
  for (int32_t i = from.first_config; i < from.first_config + from.n_configs; ++i) {
    const Config c = configs_[static_cast<size_t>(i)];
    const ProgramNode& node = program_.nodes[static_cast<size_t>(c.node)];
    if (node.lo <= byte && byte <= node.hi) work_.push_back({node.next, c.frame});
  }
  Close(work_);
  const int32_t next = Intern();
  rows_[slot] = next;
  return next;
}

int32_t Automaton::Walk(int32_t state, std::string_view bytes) {
  for (const char byte : bytes) {
    if (state == kDead) break;
    state = Step(state, static_cast<uint8_t>(byte));
  }
  return state;
}

void Automaton::Mark(const TokenTrie::Node& node, int32_t state, Marking& marking) const {
  const int64_t cost = At(state).cost;
  if (cost > marking.budget || cost >= kNever) return;
  marking.dearest = std::max(marking.dearest, cost);
  for (const int32_t id : trie_.tokens(node)) {
    marking.mask[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
  }
}

/// The nodes [first, end) of the trie, whose parents' state is `state`.
void Automaton::WalkTrie(int32_t state, int32_t first, int32_t end, Marking& marking) {
  if (first >= end) return;
  const auto nodes = trie_.nodes();
  const uint8_t top = nodes[static_cast<size_t>(first)].depth;
  for (int32_t i = first; i < end && marking.work < kMostWork;) {
    const TokenTrie::Node& node = nodes[static_cast<size_t>(i)];
    const int32_t from = node.depth == top ? state : path_[node.depth - 1u];
    marking.work += At(from).work;
    const int32_t to = Step(from, node.byte);
    if (to == kDead) {
      i = node.skip;
      continue;
    }
    path_[node.depth] = to;
    if (node.n_tokens > 0) Mark(node, to, marking);
    // Where nothing can follow, no longer token fits.
    i = At(to).n_configs == 0 ? node.skip : i + 1;
  }
}

void Automaton::WalkSingleBytes(int32_t state, Marking& marking) {
  const auto nodes = trie_.nodes();
  for (size_t i = 0; i < nodes.size(); i = static_cast<size_t>(nodes[i].skip)) {
    if (nodes[i].n_tokens == 0) continue;
    const int32_t to = Step(state, nodes[i].byte);
    if (to != kDead) Mark(nodes[i], to, marking);
  }
}

void Automaton::MarkAll(int32_t state, bool at_text_start, Marking& marking) {
  const auto nodes = trie_.nodes();
  const auto end = static_cast<int32_t>(nodes.size());
  if (!at_text_start || !trie_.drops_first_space()) {
    WalkTrie(state, 0, end, marking);
  } else {
    int32_t space = 0;
    while (space < end && nodes[static_cast<size_t>(space)].byte != ' ') {
      space = nodes[static_cast<size_t>(space)].skip;
    }
    WalkTrie(state, 0, space, marking);
    if (space < end) {
      const TokenTrie::Node& node = nodes[static_cast<size_t>(space)];
      // What follows the space begins the text; a space as a byte stays one.
      WalkTrie(state, space + 1, node.skip, marking);
      const int32_t after = Step(state, ' ');
      for (const int32_t id : trie_.tokens(node)) {
        if (after == kDead || !trie_.is_byte_token(id) || At(after).cost > marking.budget) continue;
        marking.mask[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
      }
      WalkTrie(state, node.skip, end, marking);
    }
  }
  if (marking.work >= kMostWork) WalkSingleBytes(state, marking);
}

std::span<const uint64_t> Automaton::Allowed(int32_t state, int64_t budget, bool at_text_start) {
  const size_t words = trie_.mask_words();
  if (!at_text_start) {
    State* s = &states_[static_cast<size_t>(state)];
    if (s->mask < 0) {
      const auto index = static_cast<int32_t>(masks_.size() / words);
      masks_.resize(masks_.size() + words, 0);
      Marking marking{kNever, std::span(masks_).last(words)};
      MarkAll(state, false, marking);
      s = &states_[static_cast<size_t>(state)];  // the walk makes states
      s->mask = index;
      s->mask_cost = marking.dearest;
    }
    if (s->mask_cost <= budget) {
      return std::span(masks_).subspan(static_cast<size_t>(s->mask) * words, words);
    }
  }
  std::fill(narrow_.begin(), narrow_.end(), 0);
  Marking marking{budget, narrow_};
  MarkAll(state, at_text_start, marking);
  return narrow_;
}

void Automaton::FlushIfLarge() {
  const size_t bytes = rows_.size() * sizeof(int32_t) + masks_.size() * sizeof(uint64_t) +
                       configs_.size() * sizeof(Config) + frames_.size() * sizeof(Frame) * 2;
  if (states_.size() > kMostStates || bytes > kMostCachedBytes) Flush();
}

void Automaton::Flush() {
  frames_.clear();
  frame_ids_.clear();
  configs_.clear();
  states_.clear();
  rows_.clear();
  state_ids_.clear();
  masks_.clear();
  ++epoch_;
  start_ = MakeStart();
}

}  // namespace octet
