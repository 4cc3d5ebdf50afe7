#include "sample/candidates.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

namespace octet {
namespace {

bool Likelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

}  // namespace

void CandidateSet::Add(int32_t id, float logit) {
  // Distances between logits stay finite below this, whatever a broken model says.
  constexpr float kLargest = 1e37f;
  if (!(logit > -std::numeric_limits<float>::infinity())) return;  // NaN fails too
  items_.push_back({id, std::clamp(logit, -kLargest, kLargest), 0});
}

void CandidateSet::Gather(std::span<const float> logits) {
  items_.clear();
  sorted_ = 0;
  for (size_t i = 0; i < logits.size(); ++i) Add(static_cast<int32_t>(i), logits[i]);
}

void CandidateSet::Gather(std::span<const float> logits, std::span<const uint64_t> allowed) {
  items_.clear();
  sorted_ = 0;
  for (size_t word = 0; word < allowed.size(); ++word) {
    for (uint64_t bits = allowed[word]; bits != 0; bits &= bits - 1) {
      const size_t id = word * 64 + static_cast<size_t>(std::countr_zero(bits));
      if (id < logits.size()) Add(static_cast<int32_t>(id), logits[id]);
    }
  }
}

float CandidateSet::MaxLogit() const {
  if (sorted_ > 0) return items_.front().logit;
  float max_logit = -std::numeric_limits<float>::infinity();
  for (const Candidate& c : items_) max_logit = std::max(max_logit, c.logit);
  return max_logit;
}

double CandidateSet::SumOfExponentials(float max_logit) const {
  double sum = 0;
  for (const Candidate& c : items_) sum += std::exp(c.logit - max_logit);
  return sum;
}

void CandidateSet::Scale(float temperature) {
  if (temperature == 1) return;
  const float max_logit = MaxLogit();
  for (Candidate& c : items_) {
    c.logit = std::max((c.logit - max_logit) / temperature, -std::numeric_limits<float>::max());
  }
}

/// Sorts a further stretch, four times as long as what is sorted: a truncation that ends early
/// pays one pass.
template <class Less>
void CandidateSet::ExtendSorted(Less less) {
  const size_t end = std::min(items_.size(), std::max<size_t>(128, 4 * sorted_));
  const auto first = items_.begin() + static_cast<std::ptrdiff_t>(sorted_);
  std::partial_sort(first, items_.begin() + static_cast<std::ptrdiff_t>(end), items_.end(), less);
  sorted_ = end;
}

void CandidateSet::TopK(int64_t k) {
  if (k <= 0 || k >= static_cast<int64_t>(items_.size())) return;
  const auto count = static_cast<size_t>(k);
  if (sorted_ < count) {
    std::partial_sort(items_.begin(), items_.begin() + k, items_.end(), Likelier);
  }
  items_.resize(count);
  sorted_ = count;
}

template <class Less>
void CandidateSet::KeepMass(double mass, float max_logit, double total, Less less) {
  double sum = 0;
  for (size_t i = 0; i < items_.size(); ++i) {
    if (i == sorted_) ExtendSorted(less);
    sum += std::exp(items_[i].logit - max_logit);
    if (sum >= mass * total) {
      items_.resize(i + 1);
      sorted_ = i + 1;
      return;
    }
  }
}

void CandidateSet::TopP(double p) {
  if (p >= 1 || items_.empty()) return;
  const float max_logit = MaxLogit();
  KeepMass(p, max_logit, SumOfExponentials(max_logit), Likelier);
}

void CandidateSet::MinP(double p) {
  if (p <= 0 || items_.empty()) return;
  const double least = static_cast<double>(MaxLogit()) + std::log(p);
  std::erase_if(items_, [&](const Candidate& c) { return c.logit < least; });
  sorted_ = std::min(sorted_, items_.size());  // the likelier ones stay, in their order
}

void CandidateSet::TypicalP(double p) {
  if (p >= 1 || items_.empty()) return;
  const float max_logit = MaxLogit();
  const double total = SumOfExponentials(max_logit);
  // log p = logit - log_total; the entropy is the mean of -log p.
  const double log_total = max_logit + std::log(total);
  double entropy = 0;
  for (const Candidate& c : items_) {
    const double share = std::exp(c.logit - max_logit) / total;
    if (share > 0) entropy -= share * (c.logit - log_total);
  }
  // |−log p − entropy| is the distance of the logit from this one.
  const double typical_logit = log_total - entropy;
  sorted_ = 0;
  KeepMass(p, max_logit, total, [&](const Candidate& a, const Candidate& b) {
    const double da = std::abs(a.logit - typical_logit), db = std::abs(b.logit - typical_logit);
    return da != db ? da < db : a.id < b.id;
  });
  sorted_ = 0;  // by another order than likelihood
}

double CandidateSet::MaxSurprise(double bits) {
  if (items_.empty()) return 1;
  const float max_logit = MaxLogit();
  const double total = SumOfExponentials(max_logit);
  // −log2 p ≤ bits ⇔ logit ≥ max + ln(total) − bits · ln 2. The likeliest stays even when it is
  // more surprising than that.
  const double least = max_logit + std::min(0.0, std::log(total) - bits * std::numbers::ln2);
  std::erase_if(items_, [&](const Candidate& c) { return c.logit < least; });
  sorted_ = std::min(sorted_, items_.size());
  return SumOfExponentials(max_logit) / total;
}

void CandidateSet::Normalise() {
  const float max_logit = MaxLogit();
  const double total = SumOfExponentials(max_logit);
  for (Candidate& c : items_) c.p = static_cast<float>(std::exp(c.logit - max_logit) / total);
}

const Candidate& CandidateSet::At(double u) const {
  double total = 0;
  for (const Candidate& c : items_) total += c.p;
  double sum = 0;
  const Candidate* last = &items_.front();
  for (const Candidate& c : items_) {
    if (c.p <= 0) continue;
    last = &c;
    sum += c.p;
    if (u * total < sum) return c;
  }
  return *last;
}

}  // namespace octet
