#include "ops/swiglu_grad.h"

#include <cmath>

#include "ops/rows.h"

namespace octet {

void SwiGluGrad(const SwiGluGradTask& task, Context& context) {
  const int64_t width = task.gate.shape[1];
  ForEachRow(task.gate.shape[0], width, context, [&](int64_t s) {
    const float* gate = task.gate[s].data;
    const float* up = task.up[s].data;
    const float* d_hidden = task.d_hidden[s].data;
    float* d_gate = task.d_gate[s].data;
    float* d_up = task.d_up[s].data;
    for (int64_t i = 0; i < width; ++i) {
      const float z = gate[i], d = d_hidden[i], u = up[i];
      const float sigmoid = 1.0f / (1.0f + std::exp(-z));
      d_gate[i] = d * u * sigmoid * (1.0f + z * (1.0f - sigmoid));
      d_up[i] = d * z * sigmoid;
    }
  });
}

}  // namespace octet
