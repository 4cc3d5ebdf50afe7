#include "train/balance_bias.h"

#include <numeric>

#include "base/check.h"

namespace octet {

void UpdateBalanceBias(const std::vector<int64_t>& load, double rate, Parameters& weights) {
  for (const Parameters::Tensor& tensor : weights.tensors()) {
    if (tensor.spec.role != TensorRole::kRouterBias) continue;
    const std::span<float> bias = weights.Of(tensor);
    const auto n = static_cast<int64_t>(bias.size());
    const int64_t* of_layer = load.data() + tensor.spec.layer * n;
    CHECK((tensor.spec.layer + 1) * n <= static_cast<int64_t>(load.size()));
    const int64_t total = std::accumulate(of_layer, of_layer + n, int64_t{0});
    for (int64_t e = 0; e < n; ++e) {
      const int64_t missing = total - n * of_layer[e];  // n times (mean - load), exactly
      const double sign = missing > 0 ? 1 : missing < 0 ? -1 : 0;
      bias[static_cast<size_t>(e)] += static_cast<float>(rate * sign);
    }
  }
}

}  // namespace octet
