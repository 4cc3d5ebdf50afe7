// The most that tile products do: with all operands in registers, and with a tile load from the
// first-level cache for each, which is what 2 × 2 blocks of tiles take.
#pragma once

#include "kernels/x86_amx_int8/tiles.h"

/// Defines function `name(const PeakArgs&)`, four products of `dot` a round, operands in tiles.
#define OCTET_TILE_PEAK(name, dot)              \
  void name(const PeakArgs& args) {             \
    StartPeak(args.scratch);                    \
    for (int64_t i = 0; i < args.rounds; ++i) { \
      dot(0, 4, 6);                             \
      dot(1, 5, 6);                             \
      dot(2, 4, 7);                             \
      dot(3, 5, 7);                             \
    }                                           \
    ReleaseTiles();                             \
  }

/// The same with two tiles of either operand loaded a round, from 32 KiB in turn.
#define OCTET_TILE_PEAK_LOADS(name, dot)                                \
  void name(const PeakArgs& args) {                                     \
    StartPeak(args.scratch);                                            \
    for (int64_t i = 0; i < args.rounds; ++i) {                         \
      const std::byte* p = args.scratch + i % kPeakBlocks * kPeakBlock; \
      OCTET_TILE_LOAD(6, p, 64);                                        \
      OCTET_TILE_LOAD(4, p + 1024, 64);                                 \
      dot(0, 4, 6);                                                     \
      OCTET_TILE_LOAD(5, p + 2048, 64);                                 \
      dot(1, 5, 6);                                                     \
      OCTET_TILE_LOAD(7, p + 3072, 64);                                 \
      dot(2, 4, 7);                                                     \
      dot(3, 5, 7);                                                     \
    }                                                                   \
    ReleaseTiles();                                                     \
  }

namespace octet {
namespace {

constexpr int64_t kPeakBlock = 4096, kPeakBlocks = kPeakScratchBytes / kPeakBlock;

inline void StartPeak(const std::byte* zeros) {
  ConfigureTiles(64);
  OCTET_TILE_ZERO(0);
  OCTET_TILE_ZERO(1);
  OCTET_TILE_ZERO(2);
  OCTET_TILE_ZERO(3);
  OCTET_TILE_LOAD(4, zeros, 64);
  OCTET_TILE_LOAD(5, zeros, 64);
  OCTET_TILE_LOAD(6, zeros, 64);
  OCTET_TILE_LOAD(7, zeros, 64);
}

}  // namespace
}  // namespace octet
