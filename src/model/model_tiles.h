// A model's matrices as bf16 tiles beside its float weights, for training under Arithmetic::kBf16.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "base/result.h"
#include "model/weights.h"
#include "ops/context.h"
#include "ops/tiles.h"

namespace octet {

/// Four bytes a weight: every float matrix of the layers and the head, by rows and by columns. The
/// router's stays float, matrices in other formats are packed when they are read.
class ModelTiles {
 public:
  /// Points the model's matrices at the tiles, which Refresh must fill. The model must not outlive
  /// this.
  static Result<std::unique_ptr<ModelTiles>> Create(Model& model);

  /// Makes the tiles from the weights; whenever those have changed.
  void Refresh(Context& context);

  /// The matrix whose values begin at `values`: its number, or -1 when it has no tiles.
  int64_t Find(const float* values) const;
  int64_t Columns(int64_t matrix) const;
  /// One thread's part of Refresh: rows [first, first + count) of a matrix, `first` a multiple of
  /// kTileDepth.
  void RefreshRows(int64_t matrix, int64_t first, int64_t count, const KernelTable& kernels) const;

 private:
  ModelTiles() = default;
  Buffer buffer_;
  std::vector<WeightTiles> tiles_;
  std::vector<PackTask> tasks_;               // two a matrix
  std::map<const float*, int64_t> by_start_;  // numbers of matrices
};

}  // namespace octet
