// Prompts: panels times many tokens on AMX, the walk that all formats share (few_loop.h: the one
// for at most 32 tokens).
//
// The work is a row of units (step, panel), steps outermost so that a step's activations stay near
// (64 KiB of 256 tokens) for a group of panels. Making them ready takes 1.6 µs of 128 tokens, so
// the group is large: its sums are 512 KiB of the second-level cache at most. Within a unit tokens
// pass 32 at a time, a block. Tile products, the float epilogue of a block before and the unpacking
// of the unit after are three independent streams; they alternate in quarters, because the core's
// window is too short to find them by itself. Two waits must not come between them, or nothing
// overlaps: a tile store waits 52 cycles for the products before it, so a stage's sums are stored
// among the first products of the next stage; and loads wait until such a store has left the core,
// so what reads them comes a stage later still. A stage is a block, or a quarter of one where sums
// become floats every 32 of k: the sums of a whole block would fill the cache.
//
// A scheme S says how sums are formed and turned into floats:
//   Tiles, Scales, Sums             one unit's unpacked weights; its scales; a stage's sums
//   Input                           what the epilogue needs of a step's tokens
//   kLayout, kMainBytes, kTailBytes, kDepth (bytes of k a product)
//   kActivations                    what the products read
//   kMinTokens, kMinRowTokens       from which the vector kernels are slower, on packed panels and
//                                   on a file's rows: tiles cost the same for 4 rows as for 16
//   ReadToken(block, t, input)      fills it in
//   ReadScales, Unpack              of a unit, the latter by quarters of 64 k
//   kStages                         of a block: 1 or 4
//   Products                        tile instructions of two tiles of tokens (kBoth) or one, by
//                                   quarters; the sums in a tile (kBothBefore: of two) are stored
//                                   when it is needed for others
//   Flush                           stores the last sums
//   EpilogueRows                    sums to floats, eight tokens of a Pending
#pragma once

#include "kernels/x86_amx_int8/tiles.h"

namespace octet {
namespace {

constexpr int64_t kGroupPanels = 32;   // panels that share a step's activations
constexpr int64_t kChunkTokens = 256;  // the most tokens that share an unpacked unit
constexpr int64_t kTileTokens = 16;
constexpr int kBlockTokens = 32;  // two tiles of activations

/// 16 tokens of a step as tiles A, 64 of k each.
using TokenTiles = int8_t[4][kTileTokens][64];

/// Where the tiles of activations of a step lie: 64 of k of 16 tokens, and of the 16 after.
struct TokenPlace {
  const int8_t* first;
  int64_t quarter, second, row;  // bytes to the next 64 of k, to the second tile, to the next token

  const int8_t* at(int tile, int quarter_number) const {
    return first + tile * second + quarter_number * quarter;
  }
};

/// Memory of one call, in MatmulArgs::scratch. Two units' tiles are alive, the one that is
/// multiplied and the one that is unpacked, and the scales and inputs of up to two more, whose
/// epilogues wait.
template <class S>
struct Work {
  alignas(64) TokenTiles x[kChunkTokens / kTileTokens];
  typename S::Tiles tiles[2];
  typename S::Scales scales[4];
  typename S::Sums sums[2];
  typename S::Input input[4];
  alignas(64) std::byte step[4608];  // a repacked step, for row-major weights
  // Token t of panel p at p · (tokens, up to whole tiles) + t.
  alignas(64) float acc[kGroupPanels * kChunkTokens][16];
};

/// 32 tokens of a unit's stage, or the 16 that are left, which wait for their epilogue. Where there
/// are fewer, the rest are zeros.
template <class S>
struct Pending {
  const typename S::Scales* scales = nullptr;
  const typename S::Sums* sums = nullptr;
  const typename S::Input* input = nullptr;
  float (*acc)[16] = nullptr;
  int64_t token = 0;
  int64_t count = 0;
  int stage = 0;
};

/// The units of one group of panels and chunk of tokens.
template <class S>
class UnitLoop {
 public:
  UnitLoop(const MatmulArgs& args, Work<S>* work, int64_t row, int64_t token, int64_t tokens)
      : args_(args),
        work_(work),
        row_(row),
        token_(token),
        tokens_(tokens),
        padded_((tokens + kTileTokens - 1) / kTileTokens * kTileTokens),
        panels_(Least((args.rows - row + kPanelRows - 1) / kPanelRows, kGroupPanels)),
        steps_((args.cols + kPanelStep - 1) / kPanelStep),
        unpack_share_(static_cast<int>((4 * kBlockTokens + tokens_ - 1) / tokens_)) {}

  void Run() {
    for (int64_t i = 0; i < panels_ * padded_; ++i)
      _mm512_store_ps(work_->acc[i], _mm512_setzero_ps());
    StartUnpacking(0);
    for (int quarter = 0; quarter < 4; ++quarter) Unpack(quarter);
    int64_t unit = 0;
    for (int64_t s = 0; s < steps_; ++s) {
      PrepareStep(s);
      for (int64_t panel = 0; panel < panels_; ++panel) RunUnit(unit++, s, panel);
    }
    S::Flush(&work_->sums[(stage_ + 1) % 2]);
    FinishEpilogue(pending_);
    FinishEpilogue(waiting_);
    for (int64_t t = 0; t < tokens_; ++t) StoreToken(t);
  }

 private:
  static int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

  /// Tokens into tiles; those missing in the last tile are zeros.
  void PrepareStep(int64_t s) {
    const ActivationBlock* block = args_.xq + s * args_.xq_tokens + token_;
    typename S::Input* input = &work_->input[s % 4];
    for (int64_t t = 0; t < tokens_; ++t) {
      TokenTiles& x = work_->x[t / kTileTokens];
      for (int i = 0; i < 4; ++i) {
        _mm512_store_si512(x[i][t % kTileTokens], _mm512_load_si512(block[t].q + 64 * i));
      }
      S::ReadToken(block[t], t, input);
    }
    for (int64_t t = tokens_; t < padded_; ++t) {
      TokenTiles& x = work_->x[t / kTileTokens];
      for (int i = 0; i < 4; ++i) {
        _mm512_store_si512(x[i][t % kTileTokens], _mm512_setzero_si512());
      }
    }
  }

  void RunUnit(int64_t unit, int64_t s, int64_t panel) {
    const auto& tiles = work_->tiles[unit % 2];
    const bool more = unit + 1 < steps_ * panels_;
    if (more) StartUnpacking(unit + 1);
    unpacked_ = more ? 0 : 4;
    for (int64_t t = 0; t < padded_; t += kBlockTokens) {
      const int64_t count = Least(padded_ - t, kBlockTokens);
      const Pending<S> now = {.scales = &work_->scales[unit % 4],
                              .input = &work_->input[s % 4],
                              .acc = work_->acc + panel * padded_,
                              .token = t,
                              .count = count};
      if (count == kBlockTokens) {
        RunBlock<true>(&work_->x[t / kTileTokens], tiles, now);
      } else {
        RunBlock<false>(&work_->x[t / kTileTokens], tiles, now);
      }
    }
    while (unpacked_ < 4) Unpack(unpacked_++);
  }

  static void FinishEpilogue(const Pending<S>& p) {
    for (int64_t row = 0; row < p.count; row += 8) S::EpilogueRows(p, row);
  }

  template <bool kBoth>
  void RunBlock(const TokenTiles* x, const typename S::Tiles& tiles, Pending<S> now) {
    constexpr int kRows = 8 * S::kStages;  // of an epilogue, in a quarter
#pragma GCC unroll 4
    for (int quarter = 0; quarter < 4; ++quarter) {
      const int first = S::kStages == 1 ? kRows * quarter : 0;
      const TokenPlace place = {x[0][0][0], sizeof(x[0][0]), sizeof(x[0]), 64};
      S::template Products<kBoth, true>(place, tiles, quarter, &work_->sums[(stage_ + 1) % 2]);
      for (int row = first; row < first + kRows && row < pending_.count; row += 8) {
        S::EpilogueRows(pending_, row);
      }
      if (S::kStages == 1 && quarter != 3) continue;
      now.sums = &work_->sums[stage_++ % 2];
      now.stage = S::kStages == 1 ? 0 : quarter;
      pending_ = waiting_;
      waiting_ = now;
    }
    for (int i = 0; i < unpack_share_ && unpacked_ < 4; ++i) Unpack(unpacked_++);
  }

  struct UnitPlace {
    const std::byte *main, *tail;
  };

  UnitPlace PlaceOf(int64_t unit) const {
    const int64_t s = unit / panels_, panel = unit % panels_;
    constexpr int64_t kStepBytes = S::kMainBytes + S::kTailBytes;
    const int64_t panel_bytes = (steps_ * kStepBytes + 63) / 64 * 64;
    const int64_t partner = s % 2, mains = s + 1 < steps_ || partner == 1 ? 2 : 1;
    const std::byte* pair =
        args_.w + (row_ / kPanelRows + panel) * panel_bytes + (s - partner) * kStepBytes;
    return {pair + partner * S::kMainBytes, pair + mains * S::kMainBytes + partner * S::kTailBytes};
  }

  /// Finds the unit's weights and reads its scales; Unpack then takes it quarter by quarter.
  void StartUnpacking(int64_t unit) {
    unit_ = unit;
    if (S::kLayout == Layout::kPanel16) {
      place_ = unit == 0 ? PlaceOf(0) : next_;
      next_ = PlaceOf(Least(unit + 1, steps_ * panels_ - 1));
    } else {
      Repack(unit / panels_, row_ + unit % panels_ * kPanelRows);
    }
    S::ReadScales(place_.main, place_.tail, &work_->scales[unit % 4]);
  }

  void Repack(int64_t s, int64_t row) {
    const std::byte* rows[kPanelRows];
    for (int64_t r = 0; r < kPanelRows; ++r) {
      rows[r] = row + r < args_.rows ? args_.w + (row + r) * args_.w_row_bytes +
                                           s * (S::kMainBytes + S::kTailBytes) / kPanelRows
                                     : nullptr;
    }
    place_ = {work_->step, work_->step + S::kMainBytes};
    args_.pack(rows, (args_.cols - s * kPanelStep) / 32, work_->step, work_->step + S::kMainBytes);
  }

  void Unpack(int quarter) {
    if (S::kLayout == Layout::kPanel16) {
      // The unit after; asked for in parts, as a core waits for few lines at a time.
      constexpr int64_t kLines = S::kMainBytes / 64;
      for (int64_t i = quarter * kLines / 4; i < (quarter + 1) * kLines / 4; ++i) {
        _mm_prefetch(reinterpret_cast<const char*>(next_.main + 64 * i), _MM_HINT_T0);
      }
      if (quarter == 0) _mm_prefetch(reinterpret_cast<const char*>(next_.tail), _MM_HINT_T0);
    }
    S::Unpack(place_.main, work_->scales[unit_ % 4], quarter, &work_->tiles[unit_ % 2]);
  }

  void StoreToken(int64_t t) {
    float* y = args_.y + (token_ + t) * args_.y_stride + row_;
    for (int64_t p = 0; p < panels_; ++p) {
      const int64_t rows = args_.rows - row_ - p * kPanelRows;
      const auto mask = static_cast<__mmask16>(rows >= 16 ? 0xffff : (1u << rows) - 1);
      _mm512_mask_storeu_ps(y + p * kPanelRows, mask, _mm512_load_ps(work_->acc[p * padded_ + t]));
    }
  }

  const MatmulArgs& args_;
  Work<S>* work_;
  const int64_t row_, token_, tokens_, padded_, panels_, steps_;
  // Their sums are in memory; and on their way there.
  Pending<S> pending_, waiting_;
  int64_t stage_ = 0;       // of all
  const int unpack_share_;  // quarters of the next unit to unpack beside a block
  int unpacked_ = 4;        // and how many are done
  // The unit being unpacked, and where the one after lies.
  int64_t unit_ = 0;
  UnitPlace place_ = {}, next_ = {};
};

}  // namespace
}  // namespace octet
