// Products of float matrices, and transposition: what the gradients of linear maps are made of.
#pragma once

#include <span>

#include "ops/context.h"
#include "tensor/view.h"
#include "tensor/weight_matrix.h"

namespace octet {

/// c[M, N] = a[M, K] · b[N, K]ᵀ, or c += with `add`. Both operands run along K, so that the matmul
/// kernels serve: every element is one dot product in the canonical float order, whatever the other
/// products and the number of threads.
struct Product {
  View<const float, 2> a;
  View<const float, 2> b;
  View<float, 2> c;
  bool add = false;
};

/// All products in one fork-join; no two may write the same c.
void Multiply(std::span<const Product> products, Context& context);

/// xᵀ, [cols, rows], in the scratch arena.
View<float, 2> Transposed(View<const float, 2> x, Context& context);

/// Wᵀ, [cols, rows], decoded to float. W is row-major.
View<float, 2> Transposed(const WeightMatrix& w, Context& context);

}  // namespace octet
