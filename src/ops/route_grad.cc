#include "ops/route_grad.h"

#include "ops/rows.h"

namespace octet {

void RouteGrad(const RouteGradTask& task, Context& context) {
  const int64_t k = task.experts.shape[1];
  ForEachRow(task.experts.shape[0], k, context, [&](int64_t t) {
    const float* weights = task.weights[t].data;
    const float* d_weights = task.d_weights[t].data;
    float mean = 0;
    for (int64_t j = 0; j < k; ++j) mean += weights[j] * d_weights[j];
    for (int64_t j = 0; j < k; ++j)
      task.d_logits[t][task.experts[t][j]] += weights[j] * (d_weights[j] - mean);
  });
}

}  // namespace octet
