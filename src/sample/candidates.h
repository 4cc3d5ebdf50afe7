// The tokens still in the running, and the truncations that thin them out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace octet {

struct Candidate {
  int32_t id = 0;
  float logit = 0;
  float p = 0;  // share of all candidates; only after Normalise()
};

/// Each operation sees the distribution that the ones before left, renormalised. At least one
/// candidate stays, unless there was none. Sorting is done as far as a truncation needs it: for the
/// usual top-k of 40 of 32,000 one pass and a small heap.
class CandidateSet {
 public:
  /// Room for `vocab_size` candidates: nothing allocates afterwards.
  explicit CandidateSet(int32_t vocab_size) { items_.reserve(static_cast<size_t>(vocab_size)); }

  /// All ids whose logit is a number above -inf.
  void Gather(std::span<const float> logits);
  /// Of those, the ones whose bit is set.
  void Gather(std::span<const float> logits, std::span<const uint64_t> allowed);
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

  /// Fills in p.
  void Normalise();
  /// The candidate at `u` in [0, 1) of the cumulative distribution, after Normalise(). The set must
  /// not be empty.
  const Candidate& At(double u) const;

  std::span<const Candidate> items() const { return items_; }
  bool empty() const { return items_.empty(); }

 private:
  void Add(int32_t id, float logit);
  float MaxLogit() const;
  double SumOfExponentials(float max_logit) const;
  /// Keeps the shortest prefix, in the order `less`, whose share of `total` reaches `mass`.
  template <class Less>
  void KeepMass(double mass, float max_logit, double total, Less less);
  template <class Less>
  void ExtendSorted(Less less);

  std::vector<Candidate> items_;
  size_t sorted_ = 0;  // items_[0, sorted_) are in descending order and above the rest
};

}  // namespace octet
