// Watches a run's routers and says when one is collapsing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/router_loss.h"

namespace octet {

struct RouterGuardOptions {
  double decay = 0.8;  // of the averages over updates
  /// exp(entropy) of a layer's load goes from k (a collapsed router) to E (an even one). Below
  /// k + spread · (E - k) it is called collapsing. It is averaged, not the load: a router that
  /// sends every batch to another pair of experts has collapsed too.
  /// With eight experts, top-2: 2.6. On children's stories a router with 30 to 100 times the rate
  /// goes down to 2.0 to 2.5 within 15 updates; healthy runs on a language of twelve words dip
  /// to 3.1.
  double spread = 0.1;
  /// Root mean square of logsumexp(logits): beyond it the softmax is saturated and float rounding
  /// moves choices.
  double drift = 25;
  /// So many updates in a row must look bad: single batches of few tokens often do.
  int patience = 5;
};

class RouterGuard {
 public:
  explicit RouterGuard(const RouterGuardOptions& options = {}) : options_(options) {}

  /// Takes one update's loads and gives what is wrong with the worst layer, or nothing.
  std::string Update(const RouterStatistics& statistics);

  /// True while updates look bad but are not yet as many as it takes to say so.
  bool suspicious() const { return bad_ > 0; }

  /// What it remembers: a resumed run's guard must say what the uninterrupted one's would.
  struct Memory {
    int bad = 0;
    std::vector<double> effective;
    std::vector<std::vector<double>> load;
  };
  Memory memory() const { return {bad_, effective_, load_}; }
  /// Memory of another model's routers is dropped.
  void Restore(Memory memory);
  void Forget() { Restore({}); }

  /// exp(entropy) of a layer's load, averaged.
  double EffectiveExperts(int64_t layer) const { return effective_[static_cast<size_t>(layer)]; }
  /// Experts of a layer with less than a hundredth of an even share.
  int64_t DeadExperts(int64_t layer) const;

 private:
  std::string Judge(const RouterStatistics& statistics) const;

  RouterGuardOptions options_;
  int bad_ = 0;                            // updates in a row
  std::vector<double> effective_;          // [layer]
  std::vector<std::vector<double>> load_;  // [layer][expert] averaged share of slots
};

}  // namespace octet
