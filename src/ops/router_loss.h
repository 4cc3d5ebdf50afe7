// Losses that keep a router healthy: load balancing (Fedus et al. 2021, as Hugging Face pools it)
// and the z-loss (Zoph et al. 2022, section 3.4), with their gradients. docs/math/router_loss.md.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

/// One layer's router in one step: logits [T, E], experts [T, k].
struct RoutedLayer {
  View<const float, 2> logits;
  View<const int32_t, 2> experts;
};

struct RouterLossOptions {
  double balance = 0;  // coefficients in the total loss
  double z = 0;
  /// The balance of all layers' rows as one table, as Hugging Face does; else each layer's own,
  /// averaged.
  bool pooled = true;
};

/// What the losses are made of; index layer · E + expert.
struct RouterStatistics {
  int64_t layers = 0, n_experts = 0, rows = 0;
  std::vector<int64_t> load;     // rows that chose the expert
  std::vector<double> prob_sum;  // sum over rows of the softmax over all experts
  std::vector<double> z_sum;     // [layers] sum over rows of logsumexp(logits)²
};
RouterStatistics MeasureRouters(std::span<const RoutedLayer> layers, Context& context);

/// E · Σ_e f_e P_e with f_e = load / rows and P_e the mean probability: top_k when even.
double BalanceLoss(const RouterStatistics& statistics, bool pooled);
/// Mean over rows and layers of logsumexp(logits)².
double ZLoss(const RouterStatistics& statistics);

/// d_logits [T, E] of layer `layer` += `scale` · the gradient of
/// balance · BalanceLoss + z · ZLoss. The loads are counts and carry no gradient.
struct RouterLossGradTask {
  const RouterStatistics& statistics;
  const RouterLossOptions& options;
  double scale = 1;
  int64_t layer = 0;
  View<const float, 2> logits;
  View<float, 2> d_logits;
};
void RouterLossGrad(const RouterLossGradTask& task, Context& context);

}  // namespace octet
