#include "train/router_guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace octet {

int64_t RouterGuard::DeadExperts(int64_t layer) const {
  const auto& load = load_[static_cast<size_t>(layer)];
  const double little = 0.01 / static_cast<double>(load.size());
  return std::count_if(load.begin(), load.end(), [&](double share) { return share < little; });
}

std::string RouterGuard::Judge(const RouterStatistics& s) const {
  int64_t slots = 0;
  for (int64_t e = 0; e < s.n_experts; ++e) slots += s.load[static_cast<size_t>(e)];
  const double k = static_cast<double>(slots) / static_cast<double>(s.rows);
  const double least = k + options_.spread * (static_cast<double>(s.n_experts) - k);
  for (int64_t l = 0; l < s.layers; ++l) {
    const double experts = EffectiveExperts(l);
    if (experts < least) {
      return fmt::format(
          "layer {}: the router is collapsing: {:.1f} of {} experts do the work, {} do none; lower "
          "the router's rate or raise the balance loss",
          l, experts, s.n_experts, DeadExperts(l));
    }
    const double size = std::sqrt(s.z_sum[static_cast<size_t>(l)] / static_cast<double>(s.rows));
    if (size > options_.drift) {
      return fmt::format(
          "layer {}: the router's logits have drifted to {:.0f}; lower the router's rate or raise "
          "the z-loss",
          l, size);
    }
  }
  return {};
}

void RouterGuard::Restore(Memory memory) {
  bad_ = memory.bad;
  load_ = std::move(memory.load);
  effective_ = std::move(memory.effective);
  bool fits = effective_.size() == load_.size();
  for (const auto& layer : load_) fits = fits && layer.size() == load_.front().size();
  if (fits) return;
  load_.clear();
  effective_.clear();
}

std::string RouterGuard::Update(const RouterStatistics& s) {
  if (s.layers == 0 || s.rows == 0) return {};
  const bool first = static_cast<int64_t>(load_.size()) != s.layers ||
                     static_cast<int64_t>(load_.front().size()) != s.n_experts;
  effective_.resize(static_cast<size_t>(s.layers));
  if (first)
    load_.assign(static_cast<size_t>(s.layers),
                 std::vector<double>(static_cast<size_t>(s.n_experts)));
  for (int64_t l = 0; l < s.layers; ++l) {
    double slots = 0, entropy = 0;
    for (int64_t e = 0; e < s.n_experts; ++e)
      slots += static_cast<double>(s.load[static_cast<size_t>(l * s.n_experts + e)]);
    for (int64_t e = 0; e < s.n_experts; ++e) {
      double& average = load_[static_cast<size_t>(l)][static_cast<size_t>(e)];
      const double share =
          static_cast<double>(s.load[static_cast<size_t>(l * s.n_experts + e)]) / slots;
      average = first ? share : options_.decay * average + (1 - options_.decay) * share;
      entropy -= share > 0 ? share * std::log(share) : 0;
    }
    double& effective = effective_[static_cast<size_t>(l)];
    effective = first ? std::exp(entropy)
                      : options_.decay * effective + (1 - options_.decay) * std::exp(entropy);
  }
  std::string wrong = Judge(s);
  bad_ = wrong.empty() ? 0 : bad_ + 1;
  return bad_ >= options_.patience ? wrong : std::string();
}

}  // namespace octet
