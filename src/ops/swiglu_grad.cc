#include "ops/swiglu_grad.h"

#include "ops/rows.h"

namespace octet {

void SwiGluGrad(const SwiGluGradTask& task, Context& context) {
  const int64_t width = task.gate.shape[1];
  ForEachRow(task.gate.shape[0], width, context, [&](int64_t s) {
    context.kernels.swiglu_grad->swiglu_grad({task.gate[s].data, task.up[s].data,
                                              task.d_hidden[s].data, task.d_gate[s].data,
                                              task.d_up[s].data, width});
  });
}

}  // namespace octet
