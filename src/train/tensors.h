// What an optimiser sees: named tensors with their gradients, whole weights or adapters alike.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/function_ref.h"

#include "cpu/thread_pool.h"
#include "model/parameters.h"
#include "ops/context.h"

namespace octet {

struct TrainedTensor {
  std::string name;
  std::span<float> weight;
  std::span<float> grad;
  bool is_vector = false;      // 1-D: no weight decay unless asked for
  bool is_router = false;      // may have a learning rate of its own
  int64_t rows = 0, cols = 0;  // of a layer's matrix other than its router; 0: of anything else
};

/// Every tensor of a model. `weights` and `grads` must outlive the list.
std::vector<TrainedTensor> AllTensors(Parameters& weights, Parameters& grads);

/// Stretches of at most this many values are one thread's, and one partial sum.
constexpr int64_t kTensorChunk = 16384;

/// Calls fn(tensor, first, count) for every stretch of every tensor, in parallel. The split is by
/// shape.
void ForEachChunk(std::span<const TrainedTensor> tensors, ThreadPool& pool,
                  FunctionRef<void(size_t tensor, int64_t first, int64_t count)> fn);

/// The same with stretches of at most sizes[i] values of tensor i.
void ForEachChunk(std::span<const TrainedTensor> tensors, std::span<const int64_t> sizes,
                  ThreadPool& pool,
                  FunctionRef<void(size_t tensor, int64_t first, int64_t count)> fn);

/// √Σ grad², chunks summed in double and in order. NaN or infinite when any gradient is.
double GradientNorm(std::span<const TrainedTensor> tensors, Context& context);

void ZeroGradients(std::span<const TrainedTensor> tensors, ThreadPool& pool);

}  // namespace octet
