#include "sample/candidates.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

namespace octet {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

bool Likelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

}  // namespace

CandidateSet::CandidateSet(int32_t vocab_size)
    : block_sums_((static_cast<size_t>(vocab_size) + kDenseBlock - 1) / kDenseBlock) {
  items_.reserve(static_cast<size_t>(vocab_size));
}

void CandidateSet::Add(int32_t id, float logit) {
  if (!(logit > kNone)) return;  // NaN fails too
  items_.push_back({id, std::clamp(logit, -kLargestLogit, kLargestLogit), 0});
}

void CandidateSet::Gather(std::span<const float> logits) {
  items_.clear();
  sorted_ = 0;
  scaled_ = false;
  best_ = MaxLogit(logits);
  whole_ = best_ > kNone ? logits : std::span<const float>();
  whole_weights_ = {std::clamp(best_, -kLargestLogit, kLargestLogit), 1};
}

void CandidateSet::Gather(std::span<const float> logits, std::span<const uint64_t> allowed) {
  items_.clear();
  sorted_ = 0;
  whole_ = {};
  for (size_t word = 0; word < allowed.size(); ++word) {
    for (uint64_t bits = allowed[word]; bits != 0; bits &= bits - 1) {
      const size_t id = word * 64 + static_cast<size_t>(std::countr_zero(bits));
      if (id < logits.size()) Add(static_cast<int32_t>(id), logits[id]);
    }
  }
}

bool CandidateSet::empty() const { return !whole() && items_.empty(); }

float CandidateSet::WholeLogit(size_t id) const {
  const float logit = std::clamp(whole_[id], -kLargestLogit, kLargestLogit);
  if (!scaled_) return logit;
  return std::max((logit - whole_weights_.max) * whole_weights_.sharpness,
                  -std::numeric_limits<float>::max());
}

/// Goes on with those of all logits that are at least `least`.
void CandidateSet::TakeOut(double least) {
  // Rounding may have raised it; and where logits are clamped, it says nothing of them.
  const bool plain = !scaled_ && least > -kLargestLogit / 2;
  const float floor = plain ? std::nextafter(static_cast<float>(least), kNone) : kNone;
  ForEachNear(whole_, floor, [&](size_t id) {
    const float logit = WholeLogit(id);
    if (whole_[id] > kNone && logit >= least) {
      items_.push_back({static_cast<int32_t>(id), logit, 0});
    }
  });
  whole_ = {};
}

/// Goes on with the k likeliest of all: a heap of the best so far, the worst of them in front.
void CandidateSet::TakeOutTop(size_t k) {
  float floor = kNone;
  ForEachNear(whole_, floor, [&](size_t id) {
    const float logit = whole_[id];
    if (!(logit > kNone) || (items_.size() == k && !(logit > floor))) return;
    if (items_.size() == k) {
      std::pop_heap(items_.begin(), items_.end(), Likelier);
      items_.pop_back();
    }
    items_.push_back({static_cast<int32_t>(id), logit, 0});
    std::push_heap(items_.begin(), items_.end(), Likelier);
    if (items_.size() == k) floor = items_.front().logit;
  });
  std::sort_heap(items_.begin(), items_.end(), Likelier);
  for (Candidate& c : items_) c.logit = WholeLogit(static_cast<size_t>(c.id));
  sorted_ = items_.size();
  whole_ = {};
}

float CandidateSet::MaxOfItems() const {
  if (sorted_ > 0) return items_.front().logit;
  float max_logit = kNone;
  for (const Candidate& c : items_) max_logit = std::max(max_logit, c.logit);
  return max_logit;
}

double CandidateSet::SumOfExponentials(float max_logit) {
  if (whole()) return whole_weights_.Sum(whole_, block_sums_);
  double sum = 0;
  for (const Candidate& c : items_) sum += std::exp(c.logit - max_logit);
  return sum;
}

void CandidateSet::KeepBest() {
  if (whole()) {
    const int32_t id = FirstWithLogit(whole_, best_);
    items_.push_back({id, WholeLogit(static_cast<size_t>(id)), 0});
    whole_ = {};
  }
  if (items_.empty()) return;
  items_.front() = *std::min_element(items_.begin(), items_.end(), Likelier);
  items_.resize(1);
  sorted_ = 1;
}

void CandidateSet::Scale(float temperature) {
  if (temperature == 1) return;
  if (whole()) {
    whole_weights_.sharpness = std::min(1 / temperature, std::numeric_limits<float>::max());
    scaled_ = true;
    return;
  }
  const float max_logit = MaxOfItems();
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
  if (k <= 0 || k >= static_cast<int64_t>(whole() ? whole_.size() : items_.size())) return;
  if (whole()) return TakeOutTop(static_cast<size_t>(k));
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
  if (p >= 1 || empty()) return;
  const float max_logit = Max();
  const double total = SumOfExponentials(max_logit);
  // All those below half of their even share of what is left out are left out together.
  if (whole()) {
    const double share = (1 - p) * total / (2 * static_cast<double>(whole_.size()));
    TakeOut(max_logit + std::log(share));
  }
  KeepMass(p, max_logit, total, Likelier);
}

void CandidateSet::MinP(double p) {
  if (p <= 0 || empty()) return;
  const double least = static_cast<double>(Max()) + std::log(p);
  if (whole()) return TakeOut(least);
  std::erase_if(items_, [&](const Candidate& c) { return c.logit < least; });
  sorted_ = std::min(sorted_, items_.size());  // the likelier ones stay, in their order
}

void CandidateSet::TypicalP(double p) {
  if (p >= 1 || empty()) return;
  if (whole()) TakeOut(kNone);
  const float max_logit = MaxOfItems();
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
  if (empty()) return 1;
  if (whole()) TakeOut(kNone);
  const float max_logit = MaxOfItems();
  const double total = SumOfExponentials(max_logit);
  // −log2 p ≤ bits ⇔ logit ≥ max + ln(total) − bits · ln 2. The likeliest stays even when it is
  // more surprising than that.
  const double least = max_logit + std::min(0.0, std::log(total) - bits * std::numbers::ln2);
  std::erase_if(items_, [&](const Candidate& c) { return c.logit < least; });
  sorted_ = std::min(sorted_, items_.size());
  return SumOfExponentials(max_logit) / total;
}

void CandidateSet::Normalise() {
  if (whole()) {
    whole_total_ = whole_weights_.Sum(whole_, block_sums_);
    return;
  }
  const float max_logit = MaxOfItems();
  const double total = SumOfExponentials(max_logit);
  for (Candidate& c : items_) c.p = static_cast<float>(std::exp(c.logit - max_logit) / total);
}

/// First the block, by the sums of blocks, then the candidate in it.
Candidate CandidateSet::WholeAt(double u) const {
  const double target = u * whole_total_;
  double sum = 0;
  size_t block = 0;  // the last with any weight, where rounding leaves none
  for (size_t b = 0; b < block_sums_.size(); ++b) {
    if (block_sums_[b] <= 0) continue;
    block = b;
    if (target < sum + block_sums_[b]) break;
    sum += block_sums_[b];
  }
  const size_t first = block * kDenseBlock;
  const auto logits = whole_.subspan(first, std::min(kDenseBlock, whole_.size() - first));
  float weights[kDenseBlock];
  whole_weights_.Compute(logits, weights);
  size_t chosen = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (weights[i] <= 0) continue;
    chosen = i;
    sum += weights[i];
    if (target < sum) break;
  }
  return {static_cast<int32_t>(first + chosen), WholeLogit(first + chosen),
          static_cast<float>(weights[chosen] / whole_total_)};
}

Candidate CandidateSet::At(double u) const {
  if (whole()) return WholeAt(u);
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

std::vector<Candidate> CandidateSet::Distribution() const {
  if (!whole()) return items_;
  std::vector<Candidate> all;
  for (size_t id = 0; id < whole_.size(); ++id) {
    if (!(whole_[id] > kNone)) continue;
    float weight = 0;
    whole_weights_.Compute(whole_.subspan(id, 1), &weight);
    all.push_back(
        {static_cast<int32_t>(id), WholeLogit(id), static_cast<float>(weight / whole_total_)});
  }
  return all;
}

}  // namespace octet
