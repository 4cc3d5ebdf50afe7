// Products of matrices rounded to bf16, with float sums: what training computes its linear maps
// and their gradients with under Arithmetic::kBf16. docs/math/linear.md.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "ops/context.h"
#include "tensor/view.h"
#include "tensor/weight_matrix.h"

namespace octet {

/// A matrix [outputs, depth] packed as kernels/kernel.h says (PackTilesArgs).
struct TileOperand {
  const uint16_t* tiles = nullptr;
  int64_t outputs = 0, depth = 0;

  int64_t panel_tiles() const { return (depth + kTileDepth - 1) / kTileDepth; }
  /// Outputs [first, first + count); `first` is a multiple of kTileOutputs.
  TileOperand Part(int64_t first, int64_t count) const {
    return {tiles + first / kTileOutputs * panel_tiles() * kTileValues, count, depth};
  }
  /// What `tiles` holds, in values.
  static int64_t Values(int64_t outputs, int64_t depth) {
    const int64_t panels = (outputs + kTileOutputs - 1) / kTileOutputs;
    return panels * ((depth + kTileDepth - 1) / kTileDepth) * kTileValues;
  }
};

/// Rows of floats, or of values that were rounded to bf16 already. Never owns.
struct TileSource {
  const float* x = nullptr;
  const uint16_t* rounded = nullptr;
  int64_t stride = 0, rows = 0, cols = 0;

  TileSource() = default;
  template <class T>
  TileSource(View<T, 2> v)  // NOLINT(google-explicit-constructor): a matrix of either kind
      : stride(v.stride[0]), rows(v.shape[0]), cols(v.shape[1]) {
    if constexpr (std::is_same_v<std::remove_const_t<T>, float>) {
      x = v.data;
    } else {
      static_assert(std::is_same_v<std::remove_const_t<T>, uint16_t>);
      rounded = v.data;
    }
  }
  /// `n_rows` rows and `n_cols` columns from (row, col) on.
  TileSource Part(int64_t row, int64_t n_rows, int64_t col, int64_t n_cols) const {
    TileSource part = *this;
    const int64_t at = row * stride + col;
    if (x != nullptr) part.x += at;
    if (rounded != nullptr) part.rounded += at;
    part.rows = n_rows;
    part.cols = n_cols;
    return part;
  }
};

/// What one thread does with rows that are in its cache: packs them as the outputs, to `out` in the
/// rows form; or turned, from tile `tile` of the depth on, past the caches.
void PackBlock(const TileSource& x, bool pairs, uint16_t* out, const KernelTable& kernels);
struct TurnedBlock {
  bool pairs;
  uint16_t* operand;             // of all rows
  int64_t first, operand_depth;  // where the block begins, a multiple of kTileDepth; all rows
};
void PackTurnedBlock(const TileSource& x, const TurnedBlock& block, const KernelTable& kernels);

/// Rows of `x` to be packed: as the outputs, or turned, as the depth.
struct PackTask {
  View<const float, 2> x;
  bool turned = false, pairs = false;
  uint16_t* out = nullptr;  // TileOperand::Values
  bool streams = false;     // read much later: past the caches

  TileOperand operand() const {
    return turned ? TileOperand{out, x.shape[1], x.shape[0]}
                  : TileOperand{out, x.shape[0], x.shape[1]};
  }
};
void PackTiles(std::span<const PackTask> tasks, Context& context);
/// One thread's part of it: rows [first, first + count), `first` a multiple of kTileDepth.
void PackTaskRows(const PackTask& task, int64_t first, int64_t count, const KernelTable& kernels);

/// c[M, N] = a · bᵀ, or c += a · bᵀ; `a` in rows, `b` in pairs, of one depth.
struct TileProductTask {
  TileOperand a, b;
  View<float, 2> c;
  bool add = false;
  bool streams = false;  // c is read much later: past the caches
};
/// All products in one fork-join; no two may write the same c. Bits depend on the operands alone.
void MultiplyTiles(std::span<const TileProductTask> tasks, Context& context);

/// The same in pieces of one thread each, for a fork-join with other work in it.
class TilePieces {
 public:
  /// `tasks` must outlive it.
  TilePieces(std::span<const TileProductTask> tasks, int threads, Arena& arena);
  int64_t count() const { return first_[tasks_.size()]; }
  void Multiply(int64_t piece, int worker, const KernelTable& kernels) const;

 private:
  std::span<const TileProductTask> tasks_;
  int64_t* first_;  // pieces before each task, and all
  float* sums_;     // of the workers' pieces
};

/// What becomes of a product: c is written, added to, or written past the caches.
enum class Into : uint8_t { kWrite, kAdd, kStream };
/// One thread's product: c = a · bᵀ, or c += a · bᵀ; `a` holds c's rows, as deep as b.
void MultiplyBlock(const uint16_t* a, const TileOperand& b, View<float, 2> c, Into into,
                   const KernelTable& kernels);
/// c = a · [b | more]ᵀ: a's panels hold whole tiles of b's depth, then of more's. Past the caches.
void MultiplyBlock(const uint16_t* a, const TileOperand& b, const TileOperand& more,
                   View<float, 2> c, const KernelTable& kernels);

/// W as pairs in the arena, by rows or by columns: its own tiles where it has them, else packed
/// now, from any row-major format.
TileOperand WeightOperand(const WeightMatrix& w, bool by_cols, Context& context);

}  // namespace octet
