#include "train/initial.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/rng.h"

namespace octet {

Result<Parameters> InitialWeights(const ModelConfig& config, uint64_t seed, ThreadPool& pool) {
  constexpr double kDeviation = 0.02;
  constexpr int64_t kChunk = 4096;
  OCTET_ASSIGN(Parameters weights, Parameters::Create(config, "initial weights"));
  uint64_t stream = 0;
  for (const Parameters::Tensor& tensor : weights.tensors()) {
    const std::span<float> values = weights.Of(tensor);
    stream += 2;  // a normal value takes two streams
    if (tensor.spec.shape.size() == 1) {
      std::fill(values.begin(), values.end(), 1.0f);
      continue;
    }
    const bool to_residual =
        tensor.spec.role == TensorRole::kWo || tensor.spec.role == TensorRole::kW2;
    const double scale = to_residual
                             ? kDeviation / std::sqrt(2.0 * static_cast<double>(config.n_layers))
                             : kDeviation;
    const auto n = static_cast<int64_t>(values.size());
    pool.ParallelFor((n + kChunk - 1) / kChunk, [&](int64_t chunk, int) {
      for (int64_t i = chunk * kChunk; i < std::min(n, (chunk + 1) * kChunk); ++i) {
        const auto at = static_cast<size_t>(i);
        values[at] = static_cast<float>(scale * RandomNormal(seed, stream, at));
      }
    });
  }
  return weights;
}

void ToHalvesPairing(ModelConfig& config, Parameters& weights) {
  if (config.rope_pairing == RopePairing::kHalves) return;
  config.rope_pairing = RopePairing::kHalves;
  const int64_t d = config.head_dim, half = d / 2;
  for (const Parameters::Tensor& tensor : weights.tensors()) {
    if (tensor.spec.role != TensorRole::kWq && tensor.spec.role != TensorRole::kWk) continue;
    const std::span<float> values = weights.Of(tensor);
    const std::vector<float> from(values.begin(), values.end());
    const int64_t cols = tensor.spec.shape[1];
    for (int64_t row = 0; row < tensor.spec.shape[0]; ++row) {
      const int64_t in_head = row % d;
      const int64_t pair = in_head / 2 + (in_head % 2) * half;
      std::copy_n(from.begin() + row * cols, cols, values.begin() + (row - in_head + pair) * cols);
    }
  }
}

}  // namespace octet
