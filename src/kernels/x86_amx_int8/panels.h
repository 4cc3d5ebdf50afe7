// Prompts: panels of the formats with integer scales times many tokens, on AMX.
//
// A weight times its group's scale is a 16-bit integer; its low byte (unsigned) and its high byte
// (signed) are two int8 tiles, so the sum over a step of 256 is 256·high + low, exactly, and the
// floats after it are those of every other kernel.
//
// The work is a row of units (step, panel), steps outermost so that a step's activations stay in
// the first-level cache for a group of panels. Within a unit tokens pass 32 at a time. Tile
// products, the float epilogue of the 32 tokens before, and the unpacking of the unit after are
// three independent streams; they are interleaved in quarters, because the core's window is too
// short to find them by itself.
#pragma once

#include "kernels/x86_amx_int8/tiles.h"

namespace octet {
namespace {

constexpr int64_t kGroupPanels = 8;    // panels that share a step's activations
constexpr int64_t kChunkTokens = 128;  // tokens whose activations of a step fit half of level 1
constexpr int kBlockTokens = 32;       // two tiles of activations

/// Weights of a unit times their scales: rows of tile B, 64 bytes = 16 outputs × 4 k.
struct alignas(64) UnpackedTiles {
  std::byte low[4][16][64];
  std::byte high[4][16][64];
};

/// What a unit's epilogue needs, one lane an output row.
struct alignas(64) UnitScales {
  __m512 d, dmin;
  __m512i min_pair[8];  // int16 pairs, see the format's PairSums
  __m512i words[4];     // the format's own, for its unpacking
};

struct alignas(64) TileSums {
  int32_t low[kBlockTokens][16];
  int32_t high[kBlockTokens][16];
};

/// What is constant over a step and chunk of tokens.
struct StepInput {
  const ActivationBlock* block;  // [tokens]
  int64_t tokens;
  alignas(64) int32_t pair[kChunkTokens][8];  // sums of codes, as F::PairSums orders them
  ActivationBlock padded[kBlockTokens];       // the last 32 tokens, filled up
};

/// Memory of one call, in MatmulArgs::scratch.
struct Work {
  UnpackedTiles tiles[2];
  UnitScales scales[3];
  TileSums sums[2];
  StepInput input[2];
  alignas(64) std::byte step[4608];  // a repacked step, for row-major weights
  alignas(64) float acc[kGroupPanels][kChunkTokens][16];
};

/// 32 tokens of a unit whose sums are stored and wait for their epilogue.
struct Pending {
  const UnitScales* scales = nullptr;
  const TileSums* sums = nullptr;
  const StepInput* input = nullptr;
  float (*acc)[16] = nullptr;
  int64_t token = 0;
  int64_t count = 0;
};

/// Rows [first, first + n) of the 32.
template <class F>
inline __attribute__((always_inline)) void EpilogueRows(const Pending& p, int64_t first,
                                                        int64_t n) {
  // Held in registers over the rows: loads are what an epilogue has most of.
  const __m512 d = p.scales->d, dmin = p.scales->dmin;
  __m512i min_pair[F::kMinPairs + 1];
  for (int j = 0; j < F::kMinPairs; ++j) min_pair[j] = p.scales->min_pair[j];
  const ActivationBlock* x = p.input->block + p.token + first;
  const int32_t(*pair)[8] = p.input->pair + p.token + first;
  const int32_t(*low)[16] = p.sums->low + first;
  const int32_t(*high)[16] = p.sums->high + first;
  float(*acc)[16] = p.acc + p.token + first;
  for (int64_t i = 0; i < n; ++i) {
    __m512i isum = _mm512_load_si512(low[i]);
    if constexpr (F::kHigh) {
      isum = _mm512_add_epi32(isum, _mm512_slli_epi32(_mm512_load_si512(high[i]), 8));
    }
    if constexpr (F::kBias != 0) isum = _mm512_sub_epi32(isum, _mm512_set1_epi32(pair[i][0]));
    __m512 v = _mm512_mul_ps(d, _mm512_cvtepi32_ps(isum));
    if constexpr (F::kMinPairs != 0) {
      __m512i imin = _mm512_setzero_si512();
      for (int j = 0; j < F::kMinPairs; ++j) {
        imin = _mm512_dpwssd_epi32(imin, min_pair[j], _mm512_set1_epi32(pair[i][j]));
      }
      v = _mm512_fnmadd_ps(dmin, _mm512_cvtepi32_ps(imin), v);
    }
    _mm512_store_ps(acc[i], _mm512_fmadd_ps(v, _mm512_set1_ps(x[i].scale), _mm512_load_ps(acc[i])));
  }
}

/// One of four equal shares of the tokens that wait.
template <class F>
inline __attribute__((always_inline)) void EpilogueQuarter(const Pending& p, int quarter) {
  if (p.count == kBlockTokens) {
    EpilogueRows<F>(p, 8 * quarter, 8);
  } else if (p.count > 8 * quarter) {
    const int64_t left = p.count - 8 * quarter;
    EpilogueRows<F>(p, 8 * quarter, left < 8 ? left : 8);
  }
}

/// One quarter (64 of k) of the products of 32 tokens, or of 16.
template <class F, bool kBoth>
inline void Products(const ActivationBlock* x, const UnpackedTiles& tiles, int quarter) {
  OCTET_TILE_LOAD(6, tiles.low[quarter], 64);
  OCTET_TILE_LOAD(4, x->q + 64 * quarter, sizeof(ActivationBlock));
  OCTET_TILE_DOT_SU(0, 4, 6);
  if constexpr (kBoth) {
    OCTET_TILE_LOAD(5, x[16].q + 64 * quarter, sizeof(ActivationBlock));
    OCTET_TILE_DOT_SU(1, 5, 6);
  }
  if constexpr (F::kHigh) {
    OCTET_TILE_LOAD(7, tiles.high[quarter], 64);
    OCTET_TILE_DOT_SS(2, 4, 7);
    if constexpr (kBoth) OCTET_TILE_DOT_SS(3, 5, 7);
  }
}

template <class F, bool kBoth>
inline void StoreSums(TileSums* sums) {
  OCTET_TILE_STORE(0, sums->low, 64);
  if constexpr (kBoth) OCTET_TILE_STORE(1, sums->low + 16, 64);
  if constexpr (F::kHigh) {
    OCTET_TILE_STORE(2, sums->high, 64);
    if constexpr (kBoth) OCTET_TILE_STORE(3, sums->high + 16, 64);
  }
}

/// The sums of the tokens' codes that F's epilogue multiplies; the last tokens copied to fill 32.
template <class F>
void PrepareInput(const ActivationBlock* block, int64_t tokens, StepInput* input) {
  input->block = block;
  input->tokens = tokens;
  for (int64_t t = 0; t < tokens; ++t) F::PairSums(block[t], input->pair[t]);
  const int64_t last = tokens / kBlockTokens * kBlockTokens;
  for (int64_t t = last; t < tokens; ++t) input->padded[t - last] = block[t];
}

/// The units of one group of panels and chunk of tokens.
template <class F>
class UnitLoop {
 public:
  UnitLoop(const MatmulArgs& args, Work* work, int64_t row, int64_t token)
      : args_(args),
        work_(work),
        row_(row),
        token_(token),
        tokens_(Least(args.tokens - token, kChunkTokens)),
        panels_(Least((args.rows - row + kPanelRows - 1) / kPanelRows, kGroupPanels)),
        steps_((args.cols + kPanelStep - 1) / kPanelStep) {}

  void Run() {
    for (int64_t p = 0; p < panels_; ++p) {
      for (int64_t t = 0; t < tokens_; ++t) _mm512_store_ps(work_->acc[p][t], _mm512_setzero_ps());
    }
    StartUnpacking(0);
    for (int quarter = 0; quarter < 4; ++quarter) Unpack(quarter);
    for (int64_t unit = 0; unit < steps_ * panels_; ++unit) RunUnit(unit);
    EpilogueRows<F>(pending_, 0, pending_.count);
    for (int64_t p = 0; p < panels_; ++p) {
      for (int64_t t = 0; t < tokens_; ++t) Store(p, t);
    }
  }

 private:
  static int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

  void RunUnit(int64_t unit) {
    const int64_t s = unit / panels_, panel = unit % panels_;
    StepInput& input = work_->input[s % 2];
    if (panel == 0) {
      PrepareInput<F>(args_.xq + s * args_.xq_tokens + token_, tokens_, &input);
    }
    const UnpackedTiles& tiles = work_->tiles[unit % 2];
    const bool more = unit + 1 < steps_ * panels_;
    if (more) StartUnpacking(unit + 1);
    unpacked_ = more ? 0 : 4;
    for (int64_t t = 0; t < tokens_; t += kBlockTokens) {
      const int64_t count = Least(tokens_ - t, kBlockTokens);
      const ActivationBlock* x = count == kBlockTokens ? input.block + t : input.padded;
      TileSums* sums = &work_->sums[block_++ % 2];
      if (count > 16) {
        RunBlock<true>(x, tiles, sums);
      } else {
        RunBlock<false>(x, tiles, sums);
      }
      pending_ = {&work_->scales[unit % 3], sums, &input, work_->acc[panel], t, count};
    }
    while (unpacked_ < 4) Unpack(unpacked_++);
  }

  template <bool kBoth>
  void RunBlock(const ActivationBlock* x, const UnpackedTiles& tiles, TileSums* sums) {
    OCTET_TILE_ZERO(0);
    if constexpr (kBoth) OCTET_TILE_ZERO(1);
    OCTET_TILE_ZERO(2);
    if constexpr (kBoth) OCTET_TILE_ZERO(3);
#pragma GCC unroll 4
    for (int quarter = 0; quarter < 4; ++quarter) {
      Products<F, kBoth>(x, tiles, quarter);
      EpilogueQuarter<F>(pending_, quarter);
    }
    if (unpacked_ < 4) Unpack(unpacked_++);
    StoreSums<F, kBoth>(sums);
  }

  /// Finds the unit's weights and reads its scales; Unpack then takes it quarter by quarter.
  void StartUnpacking(int64_t unit) {
    const int64_t s = unit / panels_, panel = unit % panels_;
    unit_ = unit;
    if (F::kLayout == Layout::kPanel16) {
      const int64_t step_bytes = F::kMainBytes + F::kTailBytes;
      const int64_t panel_bytes = (steps_ * step_bytes + 63) / 64 * 64;
      const int64_t partner = s % 2, mains = s + 1 < steps_ || partner == 1 ? 2 : 1;
      const std::byte* pair =
          args_.w + (row_ / kPanelRows + panel) * panel_bytes + (s - partner) * step_bytes;
      main_ = pair + partner * F::kMainBytes;
      tail_ = pair + mains * F::kMainBytes + partner * F::kTailBytes;
      // The same step of the next panel comes next.
      for (int64_t i = 0; i < step_bytes; i += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(main_ + panel_bytes + i), _MM_HINT_T0);
      }
    } else {
      Repack(s, row_ + panel * kPanelRows);
    }
    F::Scales(main_, tail_, &work_->scales[unit % 3]);
  }

  void Repack(int64_t s, int64_t row) {
    const std::byte* rows[kPanelRows];
    for (int64_t r = 0; r < kPanelRows; ++r) {
      rows[r] = row + r < args_.rows ? args_.w + (row + r) * args_.w_row_bytes +
                                           s * (F::kMainBytes + F::kTailBytes) / kPanelRows
                                     : nullptr;
    }
    main_ = work_->step;
    tail_ = work_->step + F::kMainBytes;
    args_.pack(rows, 8, work_->step, work_->step + F::kMainBytes);
  }

  void Unpack(int quarter) {
    F::Unpack(main_, work_->scales[unit_ % 3], quarter, &work_->tiles[unit_ % 2]);
  }

  void Store(int64_t panel, int64_t t) {
    const int64_t row = row_ + panel * kPanelRows, rows = args_.rows - row;
    const auto mask = static_cast<__mmask16>(rows >= 16 ? 0xffff : (1u << rows) - 1);
    _mm512_mask_storeu_ps(args_.y + (token_ + t) * args_.y_stride + row, mask,
                          _mm512_load_ps(work_->acc[panel][t]));
  }

  const MatmulArgs& args_;
  Work* work_;
  const int64_t row_, token_, tokens_, panels_, steps_;
  Pending pending_;
  int64_t block_ = 0;
  int unpacked_ = 4;  // quarters of the next unit that are done
  // The unit being unpacked.
  int64_t unit_ = 0;
  const std::byte *main_ = nullptr, *tail_ = nullptr;
};

template <class F>
void MatmulTiles(const MatmulArgs& args) {
  ConfigureTiles(64);
  for (int64_t token = 0; token < args.tokens; token += kChunkTokens) {
    for (int64_t row = 0; row < args.rows; row += kGroupPanels * kPanelRows) {
      UnitLoop<F>(args, reinterpret_cast<Work*>(args.scratch), row, token).Run();
    }
  }
  ReleaseTiles();
}

constexpr int32_t kWorkFloats = sizeof(Work) / sizeof(float);

}  // namespace
}  // namespace octet
