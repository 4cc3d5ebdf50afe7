// What turns gradients into an update: AdamW for everything, or Muon for the matrices of layers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "ops/context.h"
#include "train/adamw.h"
#include "train/muon.h"
#include "train/tensors.h"

namespace octet {

struct OptimizerOptions {
  AdamWOptions adamw;
  bool muon = false;       // for tensors with rows and cols; AdamW for the others
  double momentum = 0.95;  // Muon's
};

class Optimizer {
 public:
  /// The tensors must outlive it.
  static Result<Optimizer> Create(std::vector<TrainedTensor> tensors,
                                  const OptimizerOptions& options);

  /// One update with gradients times `grad_scale` (clipping, averaging). `tiles` of the weights, if
  /// there are any, are made again.
  void Step(double rate, double grad_scale, Context& context, ModelTiles* tiles = nullptr);

  const std::vector<TrainedTensor>& tensors() const { return tensors_; }

  /// For checkpoints: updates done, and what is remembered of a tensor under which names.
  struct Memory {
    const char* name;
    std::span<float> values;
  };
  std::vector<Memory> MemoryOf(size_t tensor);
  int64_t steps() const { return adamw_.steps(); }
  void Restore(int64_t steps) { adamw_.Restore(steps); }

 private:
  struct Place {
    bool muon;
    size_t index;  // among that one's tensors
  };
  std::vector<TrainedTensor> tensors_;
  std::vector<Place> places_;
  AdamW adamw_;
  Muon muon_;
  bool has_muon_ = false;
};

}  // namespace octet
