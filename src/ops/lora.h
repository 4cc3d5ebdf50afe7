// Low-rank adapters (Hu et al. 2021): y = W x + scale · B A x. docs/math/lora.md.
#pragma once

#include <span>

#include "ops/context.h"
#include "ops/linear.h"
#include "tensor/view.h"
#include "tensor/weight_matrix.h"

namespace octet {

/// Adds the adapter's part to y of every task whose matrix has one, then what single rows have
/// beside it (LinearTask::adapter); called by Linear. In float, whatever the matrix is stored as; a
/// row's bits depend on its own x and adapters alone. Quickest where rows of one adapter are
/// neighbours.
void AddAdapters(std::span<const LinearTask> tasks, Context& context);

/// Gradients of one adapter, added to; empty views are frozen.
struct AdapterGrads {
  View<float, 2> a;  // [rank, cols]
  View<float, 2> b;  // [rows, rank]
};
struct AdapterGradTask {
  const WeightMatrix* w;
  View<const float, 2> x, d_y;
  AdapterGrads grads;
};
/// Nothing to do without an adapter, or for a frozen one.
void AdapterGradWeights(const AdapterGradTask& task, Context& context);

/// d_x += scale · d_y · B · A where the matrix has an adapter.
void AdapterGradInput(const WeightMatrix& w, View<const float, 2> d_y, View<float, 2> d_x,
                      Context& context);

}  // namespace octet
