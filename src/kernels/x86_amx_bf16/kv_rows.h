// Rows of keys and values, of any stored format, to tiles of bf16.
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx512_bf16/bf16_rows.h"

namespace octet {
namespace {

constexpr int64_t kTileBytes = 1024;

// Shares of the next chunk that each piece of work on a chunk asks for, in units of 1 / kAskUnits:
// 256 keys converted, 32 products of keys, 8 softmaxes of 32 keys, 256 pairs of values converted
// and 16 products (head_dim 128; larger ones are done asking earlier). By measurement, flat.
constexpr int32_t kAskUnits = 8192;
constexpr int32_t kAskPerKey = 8, kAskPerKeyProduct = 32, kAskPerSoftmax = 128, kAskPerValues = 12,
                  kAskPerValueProduct = 64;

/// Asks for the rows of the chunk after this one, spread evenly over the work on this one: memory
/// is the slower side of decoding, and rests whenever nothing is asked of it. Lines are taken from
/// kStrips runs of rows in turn, so that the hardware's own prefetcher follows as many pages at
/// once: one sequential stream gets 0.6 of what memory gives. They are asked for by eights, as
/// counting single lines cost more than asking. Rows of a run count as side by side, which they are
/// in pages of a multiple of kStripKeys; in others a wrong line is asked for.
class NextChunk {
 public:
  void Start(const std::byte* const* keys, const std::byte* const* values, int64_t row_bytes) {
    for (int32_t i = 0; i < kChunkStrips; ++i) {
      strips_[i] = keys[i * kStripKeys];
      strips_[kChunkStrips + i] = values[i * kStripKeys];
    }
    bytes_ = kStripKeys * row_bytes;
    const auto lines = static_cast<int32_t>(2 * kChunkStrips * ((bytes_ + 63) / 64));
    units_ = kBatch * kAskUnits / lines;
    next_ = 0;
    offset_ = 0;
    credit_ = 0;
  }
  void Stop() { next_ = kEnd; }
  /// Asks for all that is left: before the first chunk, which nobody asked for earlier.
  void AskAll() {
    while (next_ < kEnd) AskBatch();
  }
  /// Asks for `units` / kAskUnits of the chunk more.
  void Ask(int32_t units) {
    credit_ += units;
    for (; credit_ >= units_ && next_ < kEnd; credit_ -= units_) AskBatch();
  }

 private:
  static constexpr int32_t kStripKeys = 16, kChunkStrips = kSpanChunk / kStripKeys;
  static constexpr int32_t kEnd = 2 * kChunkStrips;
  static constexpr int32_t kStrips = 16;  // at once
  static constexpr int32_t kBatch = 8;    // lines at once, each of another strip

  void AskBatch() {
    const std::byte* const* strip = strips_ + next_;
    const int64_t offset = offset_;
    for (int32_t i = 0; i < kBatch; ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(strip[i] + offset), _MM_HINT_T1);
    }
    next_ += kBatch;
    if (next_ % kStrips != 0) return;
    // The same strips' next line, or the next strips.
    offset_ = offset + 64 < bytes_ ? offset + 64 : 0;
    next_ -= offset_ != 0 ? kStrips : 0;
  }

  const std::byte* strips_[kEnd] = {};
  int64_t bytes_ = 0, offset_ = 0;  // of a strip, and asked for of those under way
  int32_t next_ = kEnd;             // strip
  int32_t credit_ = 0, units_ = 1;
};

/// Keys [16] to tiles: tile c (32 dims) has the keys as its rows.
template <class Rows>
void KeysToTiles(const std::byte* const* rows, int32_t dim_steps, std::byte* tiles,
                 NextChunk* later) {
  for (int32_t r = 0; r < 16; ++r) {
    later->Ask(kAskPerKey);
    for (int32_t c = 0; c < dim_steps; ++c) {
      _mm512_store_si512(tiles + c * kTileBytes + r * 64, Rows::Load(rows[r], 32 * c));
    }
  }
}

/// Values [32] of dims [d, d + 32 · dim_steps) to two tiles every 32 dims; row i of a tile has keys
/// 2i and 2i + 1 side by side. The first tile's columns are dims 0–3, 8–11, 16–19, 24–27, the
/// second's the others: what the unpack instructions give; NaturalDims undoes it.
template <class Rows>
void ValuesToTiles(const std::byte* const* rows, int32_t d, int32_t dim_steps, std::byte* tiles,
                   NextChunk* later) {
  for (int32_t i = 0; i < 16; ++i) {
    later->Ask(kAskPerValues);
    for (int32_t c = 0; c < dim_steps; ++c) {
      const __m512i even = Rows::Load(rows[2 * i], d + 32 * c);
      const __m512i odd = Rows::Load(rows[2 * i + 1], d + 32 * c);
      std::byte* out = tiles + 2 * c * kTileBytes + i * 64;
      _mm512_store_si512(out, _mm512_unpacklo_epi16(even, odd));
      _mm512_store_si512(out + kTileBytes, _mm512_unpackhi_epi16(even, odd));
    }
  }
}

}  // namespace
}  // namespace octet
