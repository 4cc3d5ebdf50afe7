// AdamW (Loshchilov & Hutter 2019): Adam with decay of the weights apart from the gradient.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/result.h"
#include "cpu/thread_pool.h"
#include "model/model_tiles.h"
#include "ops/context.h"
#include "train/tensors.h"

namespace octet {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95;
  double eps = 1e-8;  // added after the root of the corrected second moment
  double weight_decay = 0.1;
  bool decay_vectors = false;  // norms too
  double router_rate = 1;      // the router's learning rate, as a multiple
};

class AdamW {
 public:
  AdamW() = default;  // of no tensors
  /// Two floats a trained value. The tensors must outlive the optimiser.
  static Result<AdamW> Create(std::vector<TrainedTensor> tensors, const AdamWOptions& options);

  /// One update with gradients times `grad_scale` (clipping, averaging):
  /// w *= 1 - rate·decay; m, v; w -= rate · m̂ / (√v̂ + eps). Where `tiles` are given, those of the
  /// tensors are made again beside it, from weights that are still in the cache.
  void Step(double rate, double grad_scale, Context& context, const ModelTiles* tiles = nullptr);

  int64_t steps() const { return steps_; }
  const std::vector<TrainedTensor>& tensors() const { return tensors_; }
  /// For checkpoints: first and second moments of a tensor.
  std::span<float> First(size_t tensor) { return Slice(first_, tensor); }
  std::span<float> Second(size_t tensor) { return Slice(second_, tensor); }
  void Restore(int64_t steps) { steps_ = steps; }

 private:
  std::span<float> Slice(Buffer& buffer, size_t tensor) {
    return {buffer.as<float>() + offset_[tensor], tensors_[tensor].weight.size()};
  }
  std::vector<TrainedTensor> tensors_;
  std::vector<int64_t> offset_;
  AdamWOptions options_;
  Buffer first_, second_;
  int64_t steps_ = 0;
};

/// An exponential moving average of weights, kept beside them.
class WeightAverage {
 public:
  static Result<WeightAverage> Create(std::vector<TrainedTensor> tensors, double decay);
  /// average = decay · average + (1 - decay) · weight; the first time, the weights themselves.
  void Update(ThreadPool& pool);
  std::span<float> Of(size_t tensor) {
    return {buffer_.as<float>() + offset_[tensor], tensors_[tensor].weight.size()};
  }
  int64_t updates() const { return updates_; }
  void Restore(int64_t updates) { updates_ = updates; }

 private:
  std::vector<TrainedTensor> tensors_;
  std::vector<int64_t> offset_;
  Buffer buffer_;
  double decay_ = 0;
  int64_t updates_ = 0;
};

}  // namespace octet
