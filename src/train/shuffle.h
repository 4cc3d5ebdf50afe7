// A permutation of 0 … n-1 as a function: nothing to store, any element at once.
#pragma once

#include <bit>
#include <cstdint>

#include "base/rng.h"

namespace octet {

/// Where element `i` of `n` goes under (seed, stream). A Feistel network of six rounds over the
/// smallest even number of bits that holds n, walked until it lands inside (Black & Rogaway 2002):
/// fewer than four steps on average.
inline uint64_t Permuted(uint64_t i, uint64_t n, uint64_t seed, uint64_t stream) {
  if (n <= 1) return 0;
  const int half = (std::bit_width(n - 1) + 1) / 2;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  do {
    uint64_t left = i >> half, right = i & mask;
    for (uint64_t round = 0; round < 6; ++round) {
      const uint64_t next = left ^ (RandomBits(seed, stream * 8 + round, right) & mask);
      left = right;
      right = next;
    }
    i = left << half | right;
  } while (i >= n);
  return i;
}

}  // namespace octet
