// Prompts: panels times many tokens on AMX, the walk that all formats share.
//
// The work is a row of units (step, panel), steps outermost so that a step's activations stay in
// the first-level cache for a group of panels. Within a unit tokens pass 32 at a time, a block.
// Tile products, the float epilogue of a block before and the unpacking of the unit after are three
// independent streams; they alternate in quarters, because the core's window is too short to find
// them by itself. Two waits must not come between them, or nothing overlaps: a tile store waits 52
// cycles for the products before it, so a block's sums are stored among the first products of the
// next block; and loads wait until such a store has left the core, so what reads them comes a block
// later still.
//
// A scheme S says how sums are formed and turned into floats:
//   Tiles, Scales, Sums             one unit's unpacked weights; its scales; 32 tokens' sums
//   kLayout, kMainBytes, kTailBytes, kDepth (bytes of k a product)
//   kActivations                    what the products read
//   kMinTokens                      from which the vector kernels are slower: tiles cost the same
//                                   for 4 rows as for 16
//   PairSums(block, pair[8])        what the epilogue needs of a token's codes
//   ReadScales, Unpack              of a unit, the latter by quarters of 64 k
//   kDelay                          blocks from products to epilogue: 2; 1 where sums are large
//   Products                        tile instructions of 32 tokens (kBoth) or 16, by quarters; the
//                                   sums in a tile are stored when it is needed for others
//   Flush                           stores the last sums
//   EpilogueRows                    sums to floats, some tokens of a Pending
#pragma once

#include "kernels/x86_amx_int8/tiles.h"

namespace octet {
namespace {

constexpr int64_t kGroupPanels = 16;   // panels that share a step's activations
constexpr int64_t kChunkTokens = 128;  // tokens that share an unpacked unit
constexpr int kBlockTokens = 32;       // two tiles of activations

/// What is constant over a step and chunk of tokens.
struct StepInput {
  const ActivationBlock* block;  // [tokens]
  alignas(64) int32_t pair[kChunkTokens][8];
  ActivationBlock padded[kBlockTokens];  // the last tokens, where they do not fill 32
};

/// Memory of one call, in MatmulArgs::scratch. Two units' tiles are alive, the one that is
/// multiplied and the one that is unpacked, and the scales and inputs of up to two more, whose
/// epilogues wait.
template <class S>
struct Work {
  typename S::Tiles tiles[2];
  typename S::Scales scales[4];
  typename S::Sums sums[2];
  StepInput input[4];
  alignas(64) std::byte step[4608];  // a repacked step, for row-major weights
  alignas(64) float acc[kGroupPanels][kChunkTokens][16];
};

/// Up to 32 tokens of a unit that wait for their epilogue.
template <class S>
struct Pending {
  const typename S::Scales* scales = nullptr;
  const typename S::Sums* sums = nullptr;
  const StepInput* input = nullptr;
  float (*acc)[16] = nullptr;
  int64_t token = 0;
  int64_t count = 0;
};

/// One of four equal shares of the tokens that wait.
template <class S>
inline __attribute__((always_inline)) void EpilogueQuarter(const Pending<S>& p, int quarter) {
  if (p.count == kBlockTokens) {
    S::EpilogueRows(p, 8 * quarter, 8);
  } else if (p.count > 8 * quarter) {
    const int64_t left = p.count - 8 * quarter;
    S::EpilogueRows(p, 8 * quarter, left < 8 ? left : 8);
  }
}

/// The sums that the epilogue needs; the last tokens copied, where they do not fill 32.
template <class S>
void PrepareInput(const ActivationBlock* block, int64_t tokens, StepInput* input) {
  input->block = block;
  for (int64_t t = 0; t < tokens; ++t) S::PairSums(block[t], input->pair[t]);
  const int64_t last = tokens / kBlockTokens * kBlockTokens;
  for (int64_t t = last; t < tokens; ++t) input->padded[t - last] = block[t];
}

/// The units of one group of panels and chunk of tokens.
template <class S>
class UnitLoop {
 public:
  UnitLoop(const MatmulArgs& args, Work<S>* work, int64_t row, int64_t token)
      : args_(args),
        work_(work),
        row_(row),
        token_(token),
        tokens_(Least(args.tokens - token, kChunkTokens)),
        panels_(Least((args.rows - row + kPanelRows - 1) / kPanelRows, kGroupPanels)),
        steps_((args.cols + kPanelStep - 1) / kPanelStep),
        unpack_share_(static_cast<int>((4 * kBlockTokens + tokens_ - 1) / tokens_)) {}

  void Run() {
    for (int64_t p = 0; p < panels_; ++p) {
      for (int64_t t = 0; t < tokens_; ++t) _mm512_store_ps(work_->acc[p][t], _mm512_setzero_ps());
    }
    StartUnpacking(0);
    for (int quarter = 0; quarter < 4; ++quarter) Unpack(quarter);
    for (int64_t unit = 0; unit < steps_ * panels_; ++unit) RunUnit(unit);
    S::Flush(&work_->sums[(block_ + 1) % 2]);
    if (S::kDelay == 2 && pending_.count > 0) S::EpilogueRows(pending_, 0, pending_.count);
    if (waiting_.count > 0) S::EpilogueRows(waiting_, 0, waiting_.count);
    for (int64_t p = 0; p < panels_; ++p) {
      for (int64_t t = 0; t < tokens_; ++t) Store(p, t);
    }
  }

 private:
  static int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

  void RunUnit(int64_t unit) {
    const int64_t s = unit / panels_, panel = unit % panels_;
    StepInput& input = work_->input[s % 4];
    if (panel == 0) {
      PrepareInput<S>(args_.xq + s * args_.xq_tokens + token_, tokens_, &input);
    }
    const auto& tiles = work_->tiles[unit % 2];
    const bool more = unit + 1 < steps_ * panels_;
    if (more) StartUnpacking(unit + 1);
    unpacked_ = more ? 0 : 4;
    for (int64_t t = 0; t < tokens_; t += kBlockTokens) {
      const int64_t count = Least(tokens_ - t, kBlockTokens);
      const ActivationBlock* x = count == kBlockTokens ? input.block + t : input.padded;
      auto* sums = &work_->sums[block_ % 2];
      auto* before = &work_->sums[(block_ + 1) % 2];
      ++block_;
      if (S::kDelay == 1) Advance({});
      if (count > 16) {
        RunBlock<true>(x, tiles, sums, before);
      } else {
        RunBlock<false>(x, tiles, sums, before);
      }
      const Pending<S> now = {&work_->scales[unit % 4], sums, &input, work_->acc[panel], t, count};
      if (S::kDelay == 1) {
        waiting_ = now;
      } else {
        Advance(now);
      }
    }
    while (unpacked_ < 4) Unpack(unpacked_++);
  }

  void Advance(const Pending<S>& next) {
    pending_ = waiting_;
    waiting_ = next;
  }

  template <bool kBoth>
  void RunBlock(const ActivationBlock* x, const typename S::Tiles& tiles, typename S::Sums* sums,
                typename S::Sums* before) {
#pragma GCC unroll 4
    for (int quarter = 0; quarter < 4; ++quarter) {
      S::template Products<kBoth>(x, tiles, quarter, sums, before);
      EpilogueQuarter<S>(pending_, quarter);
    }
    for (int i = 0; i < unpack_share_ && unpacked_ < 4; ++i) Unpack(unpacked_++);
  }

  /// Finds the unit's weights and reads its scales; Unpack then takes it quarter by quarter.
  void StartUnpacking(int64_t unit) {
    const int64_t s = unit / panels_, panel = unit % panels_;
    unit_ = unit;
    if (S::kLayout == Layout::kPanel16) {
      const int64_t step_bytes = S::kMainBytes + S::kTailBytes;
      const int64_t panel_bytes = (steps_ * step_bytes + 63) / 64 * 64;
      const int64_t partner = s % 2, mains = s + 1 < steps_ || partner == 1 ? 2 : 1;
      const std::byte* pair =
          args_.w + (row_ / kPanelRows + panel) * panel_bytes + (s - partner) * step_bytes;
      main_ = pair + partner * S::kMainBytes;
      tail_ = pair + mains * S::kMainBytes + partner * S::kTailBytes;
    } else {
      Repack(s, row_ + panel * kPanelRows);
    }
    S::ReadScales(main_, tail_, &work_->scales[unit % 4]);
  }

  void Repack(int64_t s, int64_t row) {
    const std::byte* rows[kPanelRows];
    for (int64_t r = 0; r < kPanelRows; ++r) {
      rows[r] = row + r < args_.rows ? args_.w + (row + r) * args_.w_row_bytes +
                                           s * (S::kMainBytes + S::kTailBytes) / kPanelRows
                                     : nullptr;
    }
    main_ = work_->step;
    tail_ = work_->step + S::kMainBytes;
    args_.pack(rows, (args_.cols - s * kPanelStep) / 32, work_->step, work_->step + S::kMainBytes);
  }

  void Unpack(int quarter) {
    if (S::kLayout == Layout::kPanel16) {
      // The same step of the next panel comes next; asked for in parts, as a core waits for few
      // lines at a time.
      constexpr int64_t kStepBytes = S::kMainBytes + S::kTailBytes;
      const std::byte* next = main_ + (steps_ * kStepBytes + 63) / 64 * 64;
      for (int64_t i = quarter * kStepBytes / 4; i < (quarter + 1) * kStepBytes / 4; i += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(next + i), _MM_HINT_T0);
      }
    }
    S::Unpack(main_, work_->scales[unit_ % 4], quarter, &work_->tiles[unit_ % 2]);
  }

  void Store(int64_t panel, int64_t t) {
    const int64_t row = row_ + panel * kPanelRows, rows = args_.rows - row;
    const auto mask = static_cast<__mmask16>(rows >= 16 ? 0xffff : (1u << rows) - 1);
    _mm512_mask_storeu_ps(args_.y + (token_ + t) * args_.y_stride + row, mask,
                          _mm512_load_ps(work_->acc[panel][t]));
  }

  const MatmulArgs& args_;
  Work<S>* work_;
  const int64_t row_, token_, tokens_, panels_, steps_;
  // Their sums are in memory; and on their way there.
  Pending<S> pending_, waiting_;
  int64_t block_ = 0;
  const int unpack_share_;  // quarters of the next unit to unpack beside a block
  int unpacked_ = 4;        // and how many are done
  // The unit being unpacked.
  int64_t unit_ = 0;
  const std::byte *main_ = nullptr, *tail_ = nullptr;
};

template <class S>
void MatmulTiles(const MatmulArgs& args) {
  ConfigureTiles(S::kDepth);
  for (int64_t token = 0; token < args.tokens; token += kChunkTokens) {
    for (int64_t row = 0; row < args.rows; row += kGroupPanels * kPanelRows) {
      UnitLoop<S>(args, reinterpret_cast<Work<S>*>(args.scratch), row, token).Run();
    }
  }
  ReleaseTiles();
}

}  // namespace
}  // namespace octet

#define OCTET_AMX_KERNEL(format_name, id, scheme, layout_name)                            \
  {                                                                                       \
    .name = "x86_amx_int8/matmul_" format_name "." layout_name, .op = KernelOp::kMatmul,  \
    .isa = kIsaAvx512 | kIsaAvx512Vnni | kIsaAmxInt8, .speed = 40, .format = Format::id,  \
    .layout = scheme::kLayout, .arithmetic = Arithmetic::kFast,                           \
    .activations = scheme::kActivations, .min_tokens = scheme::kMinTokens,                \
    .scratch_floats = sizeof(Work<scheme>) / sizeof(float), .matmul = MatmulTiles<scheme> \
  }
/// The two descriptors of a format: from packed panels, and from the file's rows.
#define OCTET_AMX_KERNELS(format_name, id, scheme)                        \
  OCTET_AMX_KERNEL(format_name, id, scheme<Layout::kPanel16>, "panel16"), \
      OCTET_AMX_KERNEL(format_name, id, scheme<Layout::kRowMajor>, "row_major")
