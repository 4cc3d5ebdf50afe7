#include "ops/swiglu.h"

#include <cmath>

#include "ops/rows.h"

namespace octet {

void SwiGlu(View<float, 2> gate, View<const float, 2> up, Context& context) {
  const int64_t d = gate.shape[1];
  constexpr int64_t kExpCost = 8;  // in floats of plain work
  ForEachRow(gate.shape[0], d * kExpCost, context, [&](int64_t s) {
    float* g = gate[s].data;
    const float* u = up[s].data;
    for (int64_t i = 0; i < d; ++i) g[i] = g[i] / (1.0f + std::exp(-g[i])) * u[i];
  });
}

}  // namespace octet
