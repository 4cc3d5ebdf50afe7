// A grammar as a deterministic automaton over bytes whose states are made when they are first met.
// A state is a set of places in the grammar, each with the calls it returns to.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "constrain/program.h"
#include "constrain/token_trie.h"

namespace octet {

/// Not thread-safe. `trie` must outlive it.
class Automaton {
 public:
  static constexpr int32_t kDead = -1;

  Automaton(Program program, const TokenTrie& trie);

  int32_t start() const { return start_; }
  /// kDead where no text goes on with this byte.
  int32_t Step(int32_t state, uint8_t byte);
  int32_t Walk(int32_t state, std::string_view bytes);

  /// Whether the text may end here.
  bool accepting(int32_t state) const { return At(state).accepting; }
  /// Whether nothing can follow.
  bool finished(int32_t state) const { return At(state).n_configs == 0; }
  /// So many tokens surely complete the text from here: there is always one that leads to a state
  /// which needs at most one less. kNever where only luck would.
  int64_t cost(int32_t state) const { return At(state).cost; }

  /// [mask_words] The tokens after which at most `budget` more complete the text; `at_text_start`:
  /// a piece's leading space is dropped. Valid until the next call.
  std::span<const uint64_t> Allowed(int32_t state, int64_t budget, bool at_text_start);

  /// States become invalid when there are too many of them to keep; `epoch` counts how often that
  /// was. Call between tokens.
  void FlushIfLarge();
  int64_t epoch() const { return epoch_; }

 private:
  struct Frame {     // of the stack of calls
    int32_t node;    // where the call returns to
    int32_t parent;  // -1: none
    int64_t cost;    // from the return on, parents included
    uint64_t hash;   // of the whole stack: orders configs whatever was met before
  };
  struct Config {
    int32_t node;
    int32_t frame;
    bool operator==(const Config&) const = default;
  };
  struct State {
    int32_t first_config = 0, n_configs = 0;
    bool accepting = false;
    int64_t cost = kNever;
    int64_t work = 1;       // of making a state like this one
    int32_t mask = -1;      // index into masks_, -1: not made yet
    int64_t mask_cost = 0;  // the dearest state a token of the mask leads to
  };
  const State& At(int32_t state) const { return states_[static_cast<size_t>(state)]; }
  int64_t CostOf(const Config& c) const;
  uint64_t HashOf(int32_t frame) const;
  int32_t Push(int32_t node, int32_t parent);
  void Close(std::vector<Config>& work);
  void Visit(const Config& config, std::vector<Config>& work);
  bool Seen(const Config& config);
  int32_t Intern();
  int32_t MakeStart();
  void Truncate();
  struct Marking {
    int64_t budget;
    std::span<uint64_t> mask;
    int64_t dearest = 0;
    int64_t work = 0;
  };
  void Mark(const TokenTrie::Node& node, int32_t state, Marking& marking) const;
  void WalkTrie(int32_t state, int32_t first, int32_t end, Marking& marking);
  void WalkSingleBytes(int32_t state, Marking& marking);
  void MarkAll(int32_t state, bool at_text_start, Marking& marking);
  void Flush();

  const Program program_;
  const TokenTrie& trie_;
  std::vector<int64_t> node_cost_;
  std::vector<Frame> frames_;
  std::unordered_multimap<uint64_t, int32_t> frame_ids_;
  std::vector<Config> configs_;  // of all states
  std::vector<State> states_;
  std::vector<int32_t> rows_;  // [states, byte classes] the next state, kUnknown or kDead
  std::unordered_multimap<uint64_t, int32_t> state_ids_;
  std::vector<uint64_t> masks_;   // [masks, mask_words]
  std::vector<uint64_t> narrow_;  // [mask_words] of a short budget
  int32_t start_ = 0;
  int64_t epoch_ = 0;

  // Of one step.
  std::vector<Config> next_, work_;
  bool next_accepting_ = false;
  int64_t visited_ = 0;
  std::vector<uint64_t> seen_;  // open addressing; a slot counts where its stamp is this step's
  std::vector<uint32_t> seen_stamp_;
  uint32_t stamp_ = 0;
  std::array<int32_t, 256> path_ = {};  // states from the root of the trie
};

}  // namespace octet
