#include "engine/draft_cost.h"

#include <algorithm>
#include <cmath>

namespace octet {

double ExpectedExperts(int64_t n_experts, int64_t per_token, double tokens) {
  if (n_experts <= 0) return 0;
  const auto experts = static_cast<double>(n_experts);
  return experts * (1.0 - std::pow(1.0 - static_cast<double>(per_token) / experts, tokens));
}

double StepPrior::At(double rows) const {
  // A row's multiply-adds, as a share of reading its weights once: 0.02–0.05 on machines whose
  // integer units do 100 operations in the time memory delivers a byte.
  constexpr double kRowArithmetic = 0.03;
  const double read =
      shared_bytes + expert_bytes * ExpectedExperts(n_experts, experts_per_token, rows);
  const double active = shared_bytes + expert_bytes * static_cast<double>(experts_per_token);
  return read + kRowArithmetic * active * rows;
}

StepTimes::StepTimes(const StepPrior& prior, int64_t sequences, int32_t most_extra)
    : prior_(prior), sequences_(sequences), entries_(static_cast<size_t>(most_extra) + 1) {}

void StepTimes::Add(int32_t extra, double seconds) {
  Entry& entry = entries_[static_cast<size_t>(extra)];
  ++now_;
  if (extra > 0 && now_ - entry.last > kForget) entry.count = 0;
  entry.seconds[static_cast<size_t>(entry.count % kWindow)] = seconds;
  ++entry.count;
  entry.last = now_;
}

bool StepTimes::Known(int32_t extra) const {
  const Entry& entry = entries_[static_cast<size_t>(extra)];
  return entry.count > 0 && (extra == 0 || now_ - entry.last <= kForget);
}

double StepTimes::Median(const Entry& entry) const {
  std::array<double, kWindow> sorted = entry.seconds;
  const auto n = static_cast<size_t>(std::min<int64_t>(entry.count, kWindow));
  const auto end = sorted.begin() + static_cast<std::ptrdiff_t>(n);
  std::partial_sort(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(n / 2 + 1), end);
  return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

double StepTimes::Prior(int32_t extra) const {
  return prior_.At(static_cast<double>(sequences_ + extra));
}

double StepTimes::Seconds(int32_t extra) const {
  if (!Known(0)) return Prior(extra);
  if (Known(extra)) return Median(entries_[static_cast<size_t>(extra)]);
  int32_t below = extra - 1, above = extra + 1;
  while (!Known(below)) --below;  // 0 is known
  while (above <= most_extra() && !Known(above)) ++above;
  const double low = Median(entries_[static_cast<size_t>(below)]);
  const double step = Prior(extra) - Prior(below);
  if (above <= most_extra()) {
    const double high = Median(entries_[static_cast<size_t>(above)]);
    return low + (high - low) * step / (Prior(above) - Prior(below));
  }
  const double plain = Median(entries_[0]);
  if (below == 0) return plain * Prior(extra) / Prior(0);
  return low + std::max(0.0, low - plain) * step / (Prior(below) - Prior(0));
}

namespace {
// Guesses remembered, of one evidence and of all: a change of subject shows within a few dozen.
constexpr double kMemory = 48;
constexpr double kFirstWeight = 4;  // guesses that the first rate counts for
constexpr double kFadeSteps = 256;
}  // namespace

AcceptanceRates::AcceptanceRates(const Drafter& drafter) {
  for (int32_t e = 0; e < kEvidenceKinds; ++e) {
    const double rate = drafter.FirstRate(e);
    kinds_[static_cast<size_t>(e)] = {rate * kFirstWeight, kFirstWeight};
    first_overall_ = std::max(first_overall_, rate);
  }
  first_overall_ *= 0.8;  // hopeful: what is never tried is never learned
  overall_ = first_overall_;
}

void AcceptanceRates::Add(int32_t evidence, bool right) {
  Kind& kind = kinds_[static_cast<size_t>(evidence)];
  const double fade = kind.tried + 1 > kMemory ? kMemory / (kind.tried + 1) : 1.0;
  kind.right = (kind.right + (right ? 1 : 0)) * fade;
  kind.tried = (kind.tried + 1) * fade;
  overall_ += ((right ? 1.0 : 0.0) - overall_) / kMemory;
}

void AcceptanceRates::Fade() { overall_ += (first_overall_ - overall_) / kFadeSteps; }

double AcceptanceRates::Rate(int32_t evidence) const {
  const Kind& kind = kinds_[static_cast<size_t>(evidence)];
  return kind.right / kind.tried;
}

namespace {

/// Takes the likeliest next guess of all offers, one after another; `see(extra, tokens)` after
/// each.
template <class See>
void TakeLikeliest(std::span<DraftOffer> offers, int32_t most, See see) {
  double tokens = static_cast<double>(offers.size());
  for (DraftOffer& offer : offers) offer.taken = 0;
  for (int32_t extra = 1; extra <= most; ++extra) {
    DraftOffer* best = nullptr;
    double best_chance = 0;
    for (DraftOffer& offer : offers) {
      if (offer.taken >= offer.offered) continue;
      double chance = 1;
      for (int32_t i = 0; i <= offer.taken; ++i) chance *= offer.chance[static_cast<size_t>(i)];
      if (chance > best_chance) best = &offer, best_chance = chance;
    }
    if (best == nullptr) return;
    ++best->taken;
    tokens += best_chance;
    see(extra, tokens);
  }
}

}  // namespace

int32_t ChooseDrafts(std::span<DraftOffer> offers, const StepTimes& times) {
  double best_rate = kWorthwhile * static_cast<double>(offers.size()) / times.Seconds(0);
  int32_t best = 0;
  TakeLikeliest(offers, times.most_extra(), [&](int32_t extra, double tokens) {
    const double rate = tokens / times.Seconds(extra);
    if (rate > best_rate) best = extra, best_rate = rate;
  });
  TakeLikeliest(offers, best, [](int32_t, double) {});
  return best;
}

DraftPlan PlanDraft(double rate, double round_seconds, int64_t sequences, int32_t most,
                    const StepTimes& times) {
  const auto n = static_cast<double>(sequences);
  DraftPlan plan;
  plan.tokens_per_s = n / times.Seconds(0);
  double best = kWorthwhile * plan.tokens_per_s;
  double tokens = 1, chance = 1;
  for (int32_t length = 1; length <= most; ++length) {
    const int64_t extra = length * sequences;
    if (extra > times.most_extra()) break;
    chance *= rate;
    tokens += chance;
    const double seconds = times.Seconds(static_cast<int32_t>(extra)) + length * round_seconds;
    if (n * tokens / seconds <= best) continue;
    best = n * tokens / seconds;
    plan.length = length;
    plan.tokens_per_s = best;
  }
  // A further guess pays while the tokens it brings cost less than they do otherwise.
  const auto extra = static_cast<int32_t>(
      std::min<int64_t>(std::max(plan.length, 1) * sequences, times.most_extra()));
  const double row = (times.Seconds(extra) - times.Seconds(0)) / extra;
  plan.least_chance = std::min(1.0, (round_seconds / n + std::max(0.0, row)) * plan.tokens_per_s);
  return plan;
}

void LossLimit::Add(double seconds, double plain_seconds) {
  elapsed_ += seconds;
  lost_ = std::max(lost_ + seconds - plain_seconds, -kShare * elapsed_);
}

void LossLimit::AddPaper(double saved_seconds) {
  // A bad guess on paper cost nothing.
  lost_ = std::max(lost_ - std::max(saved_seconds, 0.0), -kShare * elapsed_);
}

}  // namespace octet
