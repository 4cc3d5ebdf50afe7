// Muon (Jordan et al. 2024): momentum whose singular values are all made about one, scaled as Liu
// et al. (2025, "Muon is scalable for LLM training") do so that AdamW's rates and decay fit.
// docs/math/muon.md.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/result.h"
#include "ops/context.h"
#include "train/tensors.h"

namespace octet {

struct MuonOptions {
  double momentum = 0.95;
  double weight_decay = 0.1;
};

class Muon {
 public:
  Muon() = default;  // of no tensors
  /// One float a trained value. Tensors with rows and cols, each a matrix of its own; they must
  /// outlive the optimiser.
  static Result<Muon> Create(std::vector<TrainedTensor> tensors, const MuonOptions& options);

  /// One update with gradients g times `grad_scale`: m = μm + (1 - μ)g; w *= 1 - rate · decay;
  /// w -= rate · 0.2 √max(rows, cols) · NewtonSchulz(μm + (1 - μ)g). Products are the context's:
  /// bf16 tiles or float. Bits do not depend on the threads.
  void Step(double rate, double grad_scale, Context& context);

  /// For checkpoints.
  std::span<float> Momentum(size_t tensor) {
    return {buffer_.as<float>() + offset_[tensor], tensors_[tensor].weight.size()};
  }

 private:
  std::vector<TrainedTensor> tensors_;
  std::vector<int64_t> offset_;
  MuonOptions options_;
  Buffer buffer_;
};

}  // namespace octet
