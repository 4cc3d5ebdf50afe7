// Counter-based random numbers: value = f(seed, stream, index). Nothing to save, nothing to race:
// the same three numbers give the same value on any thread, in any order, after any restart.
#pragma once

#include <cstdint>

namespace octet {

/// 64 uniform bits. Source: two rounds of the splitmix64 finaliser (Steele, Lea & Flood 2014) over
/// the key, so that neighbouring seeds, streams and indices are unrelated.
inline uint64_t RandomBits(uint64_t seed, uint64_t stream, uint64_t index) {
  auto mix = [](uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  };
  const uint64_t key = mix(seed + 0x9e3779b97f4a7c15ull) ^ mix(stream + 0xd1b54a32d192ed03ull);
  return mix(mix(key + index * 0x9e3779b97f4a7c15ull) + key);
}

/// Uniform in [0, 1) with 53 bits.
inline double RandomUniform(uint64_t seed, uint64_t stream, uint64_t index) {
  return static_cast<double>(RandomBits(seed, stream, index) >> 11) * 0x1p-53;
}

/// Standard normal (Box-Muller on two uniforms of neighbouring streams).
double RandomNormal(uint64_t seed, uint64_t stream, uint64_t index);

}  // namespace octet
