// Products of matrices rounded to bf16, with float sums: what training computes its linear maps
// and their gradients with under Arithmetic::kBf16. docs/math/linear.md.
#pragma once

#include <cstdint>
#include <span>

#include "ops/context.h"
#include "tensor/view.h"
#include "tensor/weight_matrix.h"

namespace octet {

/// A matrix [outputs, depth] packed as kernels/kernel.h says (PackTilesArgs).
struct TileOperand {
  const uint16_t* tiles = nullptr;
  int64_t outputs = 0, depth = 0;

  int64_t panel_tiles() const { return (depth + kTileDepth - 1) / kTileDepth; }
  /// What `tiles` holds, in values.
  static int64_t Values(int64_t outputs, int64_t depth) {
    const int64_t panels = (outputs + kTileOutputs - 1) / kTileOutputs;
    return panels * ((depth + kTileDepth - 1) / kTileDepth) * kTileValues;
  }
};

/// Rows of `x` to be packed: as the outputs, or turned, as the depth.
struct PackTask {
  View<const float, 2> x;
  bool turned = false, pairs = false;
  uint16_t* out = nullptr;  // TileOperand::Values

  TileOperand operand() const {
    return turned ? TileOperand{out, x.shape[1], x.shape[0]}
                  : TileOperand{out, x.shape[0], x.shape[1]};
  }
};
void PackTiles(std::span<const PackTask> tasks, Context& context);

/// c[M, N] = a · bᵀ, or c += a · bᵀ; `a` in rows, `b` in pairs, of one depth.
struct TileProductTask {
  TileOperand a, b;
  View<float, 2> c;
  bool add = false;
};
/// All products in one fork-join; no two may write the same c. Bits depend on the operands alone.
void MultiplyTiles(std::span<const TileProductTask> tasks, Context& context);

/// W as pairs in the arena, by rows or by columns: its own tiles where it has them, else packed
/// now, from any row-major format.
TileOperand WeightOperand(const WeightMatrix& w, bool by_cols, Context& context);

}  // namespace octet
