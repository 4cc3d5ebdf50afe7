// Where a tensor's matrix is among a model's weights.
#pragma once

#include "model/tensor_specs.h"
#include "model/weights.h"

namespace octet {

/// Null for a vector.
WeightMatrix* MatrixSlot(Weights& weights, const TensorSpec& spec);

}  // namespace octet
