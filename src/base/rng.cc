#include "base/rng.h"

#include <cmath>
#include <numbers>

namespace octet {

double RandomNormal(uint64_t seed, uint64_t stream, uint64_t index) {
  const double u = 1.0 - RandomUniform(seed, 2 * stream, index);  // (0, 1], so the log is finite
  const double v = RandomUniform(seed, 2 * stream + 1, index);
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

}  // namespace octet
