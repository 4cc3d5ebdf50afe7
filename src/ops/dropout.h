// Dropout of training: some values of a branch's output are left out, the others made larger by as
// much as is missing on average (Srivastava et al. 2014). docs/math/dropout.md.
#pragma once

#include <cstdint>

#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

/// What goes is a function of seed, site, row and column: the same on any number of threads, in the
/// backward pass, and when a layer is run again.
struct Dropout {
  double rate = 0;  // of each value to be left out, [0, 1), in steps of 2^-16
  uint64_t seed = 0;
};

/// One branch of one layer: what is added to the residual stream.
enum class Branch : uint8_t { kAttention, kFeedForward };
struct DropoutSite {
  int32_t layer;
  Branch branch;
};

/// Row `row` of the batch: x[i] becomes 0 or x[i] / (1 - rate). Its own gradient, too.
void DropRow(const Dropout& dropout, DropoutSite site, int64_t row, float* x, int64_t n);

/// All rows of the batch, x [T, n].
void Drop(const Dropout& dropout, DropoutSite site, View<float, 2> x, Context& context);

}  // namespace octet
