// A checksum against damage by accident: fast, 64 bits, no secret.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace octet {

/// Four lanes of multiply and rotate over 8 bytes each, so that it runs as fast as memory is read;
/// the same on every little-endian machine.
inline uint64_t Checksum(std::span<const std::byte> bytes, uint64_t seed = 0) {
  constexpr uint64_t kPrimes[4] = {0x9e3779b97f4a7c15ull, 0xc2b2ae3d27d4eb4full,
                                   0x165667b19e3779f9ull, 0xd6e8feb86659fd93ull};
  uint64_t lanes[4];
  for (size_t i = 0; i < 4; ++i) lanes[i] = (seed + 1) * kPrimes[i];
  const auto mix = [&](size_t i, uint64_t word) {
    lanes[i] = std::rotl((lanes[i] ^ word) * kPrimes[i], 29);
  };
  size_t at = 0;
  for (; at + 32 <= bytes.size(); at += 32) {
    uint64_t words[4];
    std::memcpy(words, bytes.data() + at, 32);
    for (size_t i = 0; i < 4; ++i) mix(i, words[i]);
  }
  for (size_t i = 0; at < bytes.size(); ++i, at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min<size_t>(8, bytes.size() - at));
    mix(i, word);
  }
  uint64_t sum = bytes.size();
  for (size_t i = 0; i < 4; ++i) sum = std::rotl((sum ^ lanes[i]) * kPrimes[i], 31);
  return sum ^ (sum >> 32);
}

}  // namespace octet
