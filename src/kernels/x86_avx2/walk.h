// The walks over a matrix. One or two tokens read codes as they lie in the panel, which is all
// there is time for while memory delivers it. For more, two panels' codes are unpacked once a step,
// and then multiplied with tiles of up to six tokens: each tile reads four kilobytes of codes and
// two of activations from the first-level cache, for both panels.
//
// Steps are walked in blocks whose activations stay in the second-level cache while all panels of
// the call pass; sums of floats wait there too.
//
// A format F (tile.h) says beside what its tile reads
//   Prepare(main, tail, unit)   what few tokens read of a Unit
//   PrepareMany(unit)           what many read beside that
//   Tile<N, kKept>(unit, x, acc, ahead)
#pragma once

#include "kernels/x86_avx2/tile.h"

namespace octet {
namespace {

constexpr int kUnits = 2;                    // panels prepared together
constexpr int64_t kManyPanels = 32;          // whose sums wait: 512 KiB of 256 tokens
constexpr int64_t kManyChunk = 256;          // tokens
constexpr int64_t kBlockBytes = 192 * 1024;  // activations of a block of steps
constexpr int64_t kAheadSteps = 2;           // how far ahead lines are asked for
constexpr int64_t kFewTokens = 2;            // up to which codes are read as they lie
constexpr int64_t kNearBytes = 3072;         // how far ahead for these

struct ManyWork {
  alignas(64) Unit unit[kUnits];
  alignas(64) std::byte step[kUnits][4608];  // repacked, for row-major weights
  alignas(64) TileSums acc[kManyPanels * kManyChunk];
};
constexpr int32_t kManyScratch = sizeof(ManyWork) / sizeof(float);

inline int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

template <class F>
constexpr int64_t StepLines() {
  return (F::kMainBytes + F::kTailBytes + 63) / 64;
}

template <class F, int N>
__attribute__((noinline)) void KeptTile(const Unit* unit, const ActivationBlock* x, TileSums* acc,
                                        Ahead ahead) {
  F::template Tile<N, true>(*unit, x, acc, ahead);
}

template <class F>
void RunTile(const Unit* unit, const ActivationBlock* x, int64_t tokens, TileSums* acc,
             const Ahead& ahead) {
  switch (tokens) {
    case 1:
      return KeptTile<F, 1>(unit, x, acc, ahead);
    case 2:
      return KeptTile<F, 2>(unit, x, acc, ahead);
    case 3:
      return KeptTile<F, 3>(unit, x, acc, ahead);
    case 4:
      return KeptTile<F, 4>(unit, x, acc, ahead);
    case 5:
      return KeptTile<F, 5>(unit, x, acc, ahead);
    default:
      return KeptTile<F, 6>(unit, x, acc, ahead);
  }
}

/// Up to kManyChunk tokens times up to kManyPanels panels.
template <class F, Layout kLayout>
class ManyLoop {
 public:
  ManyLoop(const MatmulArgs& args, int64_t row, int64_t token)
      : args_(args),
        work_(reinterpret_cast<ManyWork*>(args.scratch)),
        row_(row),
        token_(token),
        tokens_(Least(args.tokens - token, kManyChunk)),
        panels_(Least((args.rows - row + kPanelRows - 1) / kPanelRows, kManyPanels)),
        steps_((args.cols + kPanelStep - 1) / kPanelStep) {}

  void Run() {
    const int64_t token_bytes = tokens_ * static_cast<int64_t>(sizeof(ActivationBlock));
    const int64_t block = kBlockBytes / token_bytes;
    for (int64_t i = 0; i < panels_ * tokens_; ++i) {
      for (int h = 0; h < kHalves; ++h) _mm256_store_ps(work_->acc[i] + 8 * h, _mm256_setzero_ps());
    }
    for (first_ = 0; first_ < steps_; first_ += block) {
      end_ = Least(first_ + block, steps_);
      for (int64_t panel = 0; panel < panels_; panel += kUnits) {
        for (int64_t s = first_; s < end_; ++s) RunStep(panel, s);
      }
    }
    for (int64_t panel = 0; panel < panels_; ++panel) {
      for (int64_t t = 0; t < tokens_; ++t)
        StoreRows(args_, token_ + t, row_ + panel * kPanelRows, work_->acc[panel * tokens_ + t]);
    }
  }

 private:
  static constexpr int64_t kStepBytes = F::kMainBytes + F::kTailBytes;

  const std::byte* Panel(int64_t panel) const {
    const int64_t bytes = (steps_ * kStepBytes + 63) / 64 * 64;
    return args_.w + (row_ / kPanelRows + Least(panel, panels_ - 1)) * bytes;
  }

  /// Up to two panels of a step times all tokens, in groups of like sizes.
  void RunStep(int64_t panel, int64_t s) {
    const int64_t n_panels = Least(kUnits, panels_ - panel);
    for (int64_t p = 0; p < n_panels; ++p) Prepare(panel + p, s, p);
    const ActivationBlock* x = args_.xq + s * args_.xq_tokens + token_;
    int64_t groups = (tokens_ + kTileTokens - 1) / kTileTokens;
    const int64_t lines = (StepLines<F>() + F::kParts * groups - 1) / (F::kParts * groups);
    int64_t asked = 0;
    for (int64_t t = 0, n; t < tokens_; t += n) {
      n = (tokens_ - t) / groups--;
      for (int64_t p = 0; p < n_panels; ++p) {
        const Ahead ahead{LaterStep(panel, p, s) + 64 * asked,
                          kLayout == Layout::kPanel16 && asked < StepLines<F>() ? lines : 0};
        RunTile<F>(&work_->unit[p], x + t, n, work_->acc + (panel + p) * tokens_ + t, ahead);
      }
      asked += lines * F::kParts;
    }
  }

  /// What comes kAheadSteps later.
  const std::byte* LaterStep(int64_t panel, int64_t p, int64_t s) const {
    s += kAheadSteps;
    if (s >= end_) {
      s = first_ + (s - end_);
      panel += kUnits;
    }
    return Panel(panel + p) + s * kStepBytes;
  }

  void Prepare(int64_t panel, int64_t s, int64_t p) {
    Unit* unit = &work_->unit[p];
    if constexpr (kLayout == Layout::kPanel16) {
      const StepPlace<F> place(Panel(panel), s, steps_);
      F::Prepare(place.main, place.tail, unit);
    } else {
      RepackStep<F>(args_, row_ + panel * kPanelRows, s, work_->step[p]);
      F::Prepare(work_->step[p], work_->step[p] + F::kMainBytes, unit);
    }
    F::PrepareMany(unit);
  }

  const MatmulArgs& args_;
  ManyWork* work_;
  const int64_t row_, token_, tokens_, panels_, steps_;
  int64_t first_ = 0, end_ = 0;  // steps of the block
};

template <class F, Layout kLayout>
void MatmulMany(const MatmulArgs& args) {
  for (int64_t row = 0; row < args.rows; row += kManyPanels * kPanelRows) {
    for (int64_t token = 0; token < args.tokens; token += kManyChunk)
      ManyLoop<F, kLayout>(args, row, token).Run();
  }
}

/// N tokens; codes as they lie.
template <class F, int N>
void MatmulFew(const MatmulArgs& args) {
  constexpr int64_t kStepBytes = F::kMainBytes + F::kTailBytes;
  const int64_t steps = (args.cols + kPanelStep - 1) / kPanelStep;
  const int64_t panel_bytes = (steps * kStepBytes + 63) / 64 * 64;
  const std::byte* panel = args.w;
  Unit& unit = reinterpret_cast<ManyWork*>(args.scratch)->unit[0];
  for (int64_t row = 0; row < args.rows; row += kPanelRows, panel += panel_bytes) {
    alignas(32) TileSums acc[N] = {};
    for (int64_t s = 0; s < steps; ++s) {
      const StepPlace<F> place(panel, s, steps);
      F::Prepare(place.main, place.tail, &unit);
      const Ahead ahead{panel + s * kStepBytes + kNearBytes,
                        (StepLines<F>() + F::kParts - 1) / F::kParts};
      F::template Tile<N, false>(unit, args.xq + s * args.xq_tokens, acc, ahead);
    }
    for (int t = 0; t < N; ++t) StoreRows(args, t, row, acc[t]);
  }
}

template <class F>
void MatmulPacked(const MatmulArgs& args) {
  switch (args.tokens) {
    case 1:
      return MatmulFew<F, 1>(args);
    case 2:
      return MatmulFew<F, 2>(args);
    default:
      return MatmulMany<F, Layout::kPanel16>(args);
  }
}

}  // namespace
}  // namespace octet

/// The two descriptors of a format: from packed panels, and from the file's rows.
#define OCTET_PANEL_KERNELS(folder, isa_bits, speed_of, format_name, id, step)                    \
  {.name = folder "/matmul_" format_name ".panel16",                                              \
   .op = KernelOp::kMatmul,                                                                       \
   .isa = isa_bits,                                                                               \
   .speed = speed_of,                                                                             \
   .format = Format::id,                                                                          \
   .layout = Layout::kPanel16,                                                                    \
   .arithmetic = Arithmetic::kFast,                                                               \
   .activations = step::kActivations,                                                             \
   .scratch_floats = kManyScratch,                                                                \
   .matmul = MatmulPacked<step>},                                                                 \
  {                                                                                               \
    .name = folder "/matmul_" format_name ".row_major", .op = KernelOp::kMatmul, .isa = isa_bits, \
    .speed = speed_of, .format = Format::id, .layout = Layout::kRowMajor,                         \
    .arithmetic = Arithmetic::kFast, .activations = step::kActivations,                           \
    .scratch_floats = kManyScratch, .matmul = MatmulMany<step, Layout::kRowMajor>                 \
  }
