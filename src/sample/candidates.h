// The tokens still in the running, and the truncations that thin them out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sample/dense.h"

namespace octet {

struct Candidate {
  int32_t id = 0;
  float logit = 0;
  float p = 0;  // share of all candidates; only after Normalise()
};

/// Each operation sees the distribution that the ones before left, renormalised. At least one
/// candidate stays, unless there was none. As long as nothing was left out the logits are read
/// where they lie; a truncation takes out what may stay, in one pass, and sorts as far as it needs
/// it.
class CandidateSet {
 public:
  /// Room for `vocab_size` candidates: nothing allocates afterwards.
  explicit CandidateSet(int32_t vocab_size);

  /// All ids whose logit is a number above -inf. The logits must stay until the next Gather.
  void Gather(std::span<const float> logits);
  /// Of those, the ones whose bit is set.
  void Gather(std::span<const float> logits, std::span<const uint64_t> allowed);
  /// The likeliest alone, the lowest id of equals.
  void KeepBest();
  /// Divides every logit's distance from the largest by `temperature` > 0.
  void Scale(float temperature);
  /// The k largest logits, lower ids first among equals (Fan et al. 2018).
  void TopK(int64_t k);
  /// The fewest most likely tokens whose probabilities sum to at least `p` (Holtzman et al. 2020).
  void TopP(double p);
  /// Tokens at least `p` times as likely as the likeliest (Nguyen et al. 2024).
  void MinP(double p);
  /// The fewest tokens of surprise nearest the entropy that sum to at least `p` (Meister et al.
  /// 2023).
  void TypicalP(double p);
  /// Tokens whose surprise −log2(p) is at most `bits` (mirostat v2, Basu et al. 2021). Returns
  /// the share of the probability that is left.
  double MaxSurprise(double bits);

  /// Before At() and Distribution().
  void Normalise();
  /// The candidate at `u` in [0, 1) of the cumulative distribution. The set must not be empty.
  Candidate At(double u) const;
  /// All of them, in no particular order.
  std::vector<Candidate> Distribution() const;

  bool empty() const;

 private:
  bool whole() const { return !whole_.empty(); }
  float WholeLogit(size_t id) const;
  Candidate WholeAt(double u) const;
  void TakeOut(double least);
  void TakeOutTop(size_t k);
  void Add(int32_t id, float logit);
  float MaxOfItems() const;
  float Max() const { return whole() ? WholeMax() : MaxOfItems(); }
  float WholeMax() const { return scaled_ ? 0 : whole_weights_.max; }
  double SumOfExponentials(float max_logit);
  /// Keeps the shortest prefix, in the order `less`, whose share of `total` reaches `mass`.
  template <class Less>
  void KeepMass(double mass, float max_logit, double total, Less less);
  template <class Less>
  void ExtendSorted(Less less);

  std::span<const float> whole_;     // all logits, while nothing was left out; else empty
  float best_ = 0;                   // of them, as it is
  DenseWeights whole_weights_ = {};  // of them
  bool scaled_ = false;              // they count as (logit - max) · sharpness
  std::vector<double> block_sums_;   // of their weights
  double whole_total_ = 0;           // after Normalise
  std::vector<Candidate> items_;     // what was taken out of them
  size_t sorted_ = 0;  // items_[0, sorted_) are in descending order and above the rest
};

}  // namespace octet
