// Gradients of Linear: y[T, rows] = x[T, cols] · Wᵀ. Derivation: docs/math/linear.md.
#pragma once

#include <span>

#include "ops/context.h"
#include "ops/lora.h"
#include "tensor/view.h"
#include "tensor/weight_matrix.h"

namespace octet {

/// d_x[T, cols] = d_y[T, rows] · W, or += with `add`. W in any row-major format: its float values
/// count.
struct LinearGradInputTask {
  const WeightMatrix* w;
  View<const float, 2> d_y;
  View<float, 2> d_x;
  bool add = false;
};

/// d_w[rows, cols] += d_yᵀ · x. A task whose d_w is empty (frozen weights) leaves that out. With
/// `w` and its adapter, the adapter's gradients too.
struct LinearGradWeightTask {
  View<const float, 2> x, d_y;
  View<float, 2> d_w;
  const WeightMatrix* w = nullptr;
  AdapterGrads adapter = {};
};

/// All tasks in one go: every expert of a layer together. Tasks of one call write different
/// outputs. Bits do not depend on the threads.
void LinearGradInput(std::span<const LinearGradInputTask> tasks, Context& context);
void LinearGradWeight(std::span<const LinearGradWeightTask> tasks, Context& context);

}  // namespace octet
