// AMX tiles for kernel files: configuration, and instructions as assembly with a memory clobber.
// (g++ 12's _tile_loadd promises the optimiser nothing about the memory it reads, and its
// _tile_loadconfig only 8 of 64 bytes, so stores before them may be dropped.)
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"

#define OCTET_TILE_LOAD(n, p, stride)                                                      \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #n ::"r"(p), "r"(static_cast<int64_t>(stride)) \
               : "memory")
/// What is not wanted in the first-level cache: what lies there already stays.
#define OCTET_TILE_LOAD_PAST_L1(n, p, stride)                                                \
  asm volatile("tileloaddt1 (%0,%1,1), %%tmm" #n ::"r"(p), "r"(static_cast<int64_t>(stride)) \
               : "memory")
#define OCTET_TILE_STORE(n, p, stride)                                                         \
  asm volatile("tilestored %%tmm" #n ", (%0,%1,1)" ::"r"(p), "r"(static_cast<int64_t>(stride)) \
               : "memory")
#define OCTET_TILE_ZERO(n) asm volatile("tilezero %%tmm" #n ::)
/// tmm[c] += A (signed bytes) · B, B's bytes unsigned (SU) or signed (SS).
#define OCTET_TILE_DOT_SU(c, a, b) asm volatile("tdpbsud %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::)
#define OCTET_TILE_DOT_SS(c, a, b) asm volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::)
/// The same of pairs of bf16, to floats; for the files of x86_amx_bf16.
#define OCTET_TILE_DOT_BF16(c, a, b) asm volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::)

namespace octet {
namespace {

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

/// Tiles 0–3 hold sums (rows × 16 of 32 bits), 4–5 activations, 6–7 weights; `depth` bytes of k a
/// product (64 or 32). `rows` of them in tiles 0, 2 and 4, `more_rows` in 1, 3 and 5.
inline void ConfigureTiles(int depth, int64_t rows = 16, int64_t more_rows = 16) {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    const bool activations = i == 4 || i == 5, weights = i >= 6;
    config.row_bytes[i] = static_cast<uint16_t>(activations ? depth : 64);
    config.rows[i] = static_cast<uint8_t>(weights ? depth / 4 : i % 2 == 0 ? rows : more_rows);
  }
  asm volatile("ldtilecfg %0" ::"m"(config));
}

/// Gives the tiles back, so that the system need not save them.
inline void ReleaseTiles() { asm volatile("tilerelease" ::); }

}  // namespace
}  // namespace octet
