// Weights to begin with.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "cpu/thread_pool.h"
#include "model/parameters.h"

namespace octet {

/// Normal values with deviation 0.02, those that write to the residual stream (wo, w2) divided by
/// √(2 · layers) (Radford et al. 2019), so that the stream keeps its size at any depth; norms 1.
/// The same seed gives the same values on any number of threads.
Result<Parameters> InitialWeights(const ModelConfig& config, uint64_t seed, ThreadPool& pool);

/// Turns the rows of wq and wk from interleaved pairs to halves, and says so in `config`: what a
/// Hugging Face folder holds. Nothing to do for halves.
void ToHalvesPairing(ModelConfig& config, Parameters& weights);

}  // namespace octet
