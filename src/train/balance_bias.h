// Load balancing without a loss: a bias an expert that only the choice of experts sees.
#pragma once

#include "ops/router_loss.h"
#include "train/trained_model.h"

namespace octet {

/// After an update, every router's bias moves by `rate` towards experts that got less than an even
/// share of the update's tokens and away from the others: b_e += rate · sign(mean - load_e) (Wang
/// et al. 2024, "Auxiliary-loss-free load balancing strategy", algorithm 1). `load` is that of
/// RouterStatistics, summed over the update. The model must have biases (WithRouterBias).
void UpdateBalanceBias(const std::vector<int64_t>& load, double rate, Parameters& weights);

}  // namespace octet
