// What a conversion writes: every output tensor, and where in the source its values are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/function_ref.h"
#include "io/checkpoint.h"
#include "model/config.h"
#include "model/tensor_specs.h"

namespace octet {

/// Rows of one source tensor that become neighbouring rows of an output tensor.
struct SourceSlice {
  const TensorInfo* info = nullptr;  // of the checkpoint's tensors
  int64_t first_row = 0;             // of `info`, flattened to [rows, last dimension]
  int64_t rows = 0, cols = 0;        // as the model has them: [rows, cols]
  bool transposed = false;           // stored as [cols, rows]
};

/// The order of the rows of wq and wk changes with the RoPE pairing.
enum class RowOrder : uint8_t { kSame, kHalvesToInterleaved, kInterleavedToHalves };

struct PlannedTensor {
  TensorInfo info;  // as written
  TensorRole role = TensorRole::kEmbedding;
  int32_t layer = -1;  // -1: of none
  RowOrder row_order = RowOrder::kSame;
  int64_t head_dim = 0;             // rows that are reordered together
  std::vector<SourceSlice> slices;  // one under another
};

/// The format of an output tensor whose values the source stores as `source`.
using ChooseFormat = FunctionRef<Result<Format>(const PlannedTensor&, Format source)>;

struct TensorPlan {
  std::vector<PlannedTensor> tensors;  // in canonical order
  std::vector<std::string> left_out;   // source tensors that are no part of the model
};

/// Checks that every tensor is there in its shape. kUnsupported when the experts that share an
/// output tensor are stored differently and `choose` would keep that.
Result<TensorPlan> PlanTensors(const Checkpoint& source, const ModelConfig& config, Naming target,
                               ChooseFormat choose);

}  // namespace octet
