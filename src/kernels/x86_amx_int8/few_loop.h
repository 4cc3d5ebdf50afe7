// At most 32 tokens on AMX: every weight is used for so few tokens that bringing it in from memory
// and unpacking it take longer than multiplying. Same schemes as unit_loop.h, another walk:
//
// Within a unit (step, panel) the products of this unit, the unpacking of the next and the epilogue
// of the one before the last alternate by quarters, so that tile unit, vector units and the stores
// of unpacked weights work at once. All of a group's sums lie densely in the first-level cache.
// Weights are asked for twice: kFarUnits ahead into the second-level cache, which can wait for
// enough lines at a time, and kNearUnits ahead from there.
#pragma once

#include "kernels/x86_amx_int8/unit_loop.h"

namespace octet {
namespace {

constexpr int64_t kStreamedTokens = 32;  // two tiles of activations
constexpr int64_t kFewPanels = 16;       // at most, of a group
constexpr int64_t kTokenBytes = sizeof(ActivationBlock);

/// Memory of one call, in MatmulArgs::scratch. Indices are the unit's number, modulo.
template <class S>
struct FewWork {
  typename S::Tiles tiles[2];
  typename S::Scales scales[4];
  typename S::Sums sums[2];
  typename S::Input input[4];                               // of a step
  alignas(64) float acc[kFewPanels * kStreamedTokens][16];  // token t of panel p at p · padded + t
};

/// The units of a call in their order: groups of panels, steps, panels. Stays at the last.
template <class S>
class UnitWalk {
 public:
  UnitWalk(const MatmulArgs& args, int64_t group_panels)
      : group_panels_(group_panels),
        steps_((args.cols + kPanelStep - 1) / kPanelStep),
        panel_bytes_((steps_ * (S::kMainBytes + S::kTailBytes) + 63) / 64 * 64),
        left_((args.rows + kPanelRows - 1) / kPanelRows),
        group_(args.w) {
    StartGroup();
  }

  const std::byte* main() const { return main_; }
  const std::byte* tail() const { return tail_; }
  int64_t panels() const { return panels_; }

  void Next() {
    if (++panel_ < panels_) {
      main_ += panel_bytes_;
      tail_ += panel_bytes_;
    } else if (step_ + 1 < steps_) {
      StartStep(step_ + 1);
    } else if (left_ > panels_) {
      group_ += panels_ * panel_bytes_;
      left_ -= panels_;
      StartGroup();
    } else {
      --panel_;
    }
  }

 private:
  void StartGroup() {
    panels_ = left_ < group_panels_ ? left_ : group_panels_;
    StartStep(0);
  }
  void StartStep(int64_t s) {
    step_ = s;
    panel_ = 0;
    const int64_t partner = s % 2, mains = s + 1 < steps_ || partner == 1 ? 2 : 1;
    const std::byte* pair = group_ + (s - partner) * (S::kMainBytes + S::kTailBytes);
    main_ = pair + partner * S::kMainBytes;
    tail_ = pair + mains * S::kMainBytes + partner * S::kTailBytes;
  }

  const int64_t group_panels_, steps_, panel_bytes_;
  int64_t left_;  // panels from this group on
  const std::byte* group_;
  int64_t panels_ = 0, panel_ = 0, step_ = 0;
  const std::byte *main_ = nullptr, *tail_ = nullptr;
};

/// kBoth: more than 16 tokens.
template <class S, bool kBoth>
class FewLoop {
 public:
  FewLoop(const MatmulArgs& args, FewWork<S>* work)
      : args_(args),
        work_(work),
        tokens_(args.tokens),
        padded_((args.tokens + 7) / 8 * 8),
        steps_((args.cols + kPanelStep - 1) / kPanelStep),
        group_panels_(GroupPanels((args.rows + kPanelRows - 1) / kPanelRows)),
        unpacked_(args, group_panels_),
        near_(args, group_panels_),
        far_(args, group_panels_) {
    // The epilogue takes eight tokens at a time; those that are missing are zeros.
    constexpr int64_t kSumRows = sizeof(work->sums) / 64;  // all of [kBlockTokens][16] int32
    static_assert(sizeof(work->sums) % (kBlockTokens * 64) == 0);
    auto* sums = reinterpret_cast<std::byte*>(work->sums);
    for (int64_t first = 0; first < kSumRows; first += kBlockTokens) {
      for (int64_t t = tokens_; t < padded_; ++t)
        _mm512_store_si512(sums + 64 * (first + t), _mm512_setzero_si512());
    }
    const ActivationBlock none = {};
    for (typename S::Input& input : work->input) {
      for (int64_t t = tokens_; t < padded_; ++t) S::ReadToken(none, t, &input);
    }
  }

  void Run() {
    for (int64_t i = 0; i < kNearUnits + 1; ++i) near_.Next();
    for (int64_t i = 0; i < kFarUnits + 1; ++i) {
      for (int quarter = 0; quarter < 4; ++quarter) Ask<true>(far_, quarter);
      far_.Next();
    }
    ReadUnit(0);
    for (int quarter = 0; quarter < 4; ++quarter) UnpackQuarter(0, quarter);
    for (int64_t row = 0; row < args_.rows;) {
      const int64_t panels = RunGroup();
      for (int64_t p = 0; p < panels; ++p) StorePanel(p, row + p * kPanelRows);
      row += panels * kPanelRows;
    }
  }

 private:
  // Ahead of the unit that is unpacked. From memory Q4_K takes 192 ns of 4 tokens with two units
  // near, 212 with one; Q6_K, whose units are longer, 277 and 272. Farther ones hardly matter.
  static constexpr int64_t kNearUnits = S::kMainBytes < 2560 ? 2 : 1, kFarUnits = kNearUnits + 2;

  /// Groups of equal size. For few tokens, eight panels are fastest to read (Q4_K, 8 tokens: 170 ns
  /// a panel and step, 175 of four and 181 of sixteen); for more, activations cost more to bring
  /// in.
  static int64_t GroupPanels(int64_t panels) {
    constexpr int64_t kMost = kBoth ? kFewPanels : kFewPanels / 2;
    const int64_t groups = (panels + kMost - 1) / kMost;
    return groups == 0 ? 1 : (panels + groups - 1) / groups;
  }

  int64_t RunGroup() {
    const int64_t panels = unpacked_.panels();
    for (int64_t i = 0; i < panels * padded_; ++i)
      _mm512_store_ps(work_->acc[i], _mm512_setzero_ps());
    done_ = unit_;
    token_share_ = (tokens_ + panels - 1) / panels;
    for (int64_t s = 0; s < steps_; ++s) {
      PrepareStep(s);
      for (int64_t p = 0; p < panels; ++p) RunUnit(s, p);
    }
    Drain();
    return panels;
  }

  void PrepareStep(int64_t s) {
    const ActivationBlock* block = args_.xq + s * args_.xq_tokens;
    for (int64_t t = 0; t < tokens_; ++t) S::ReadToken(block[t], t, &work_->input[s % 4]);
    x_ = {block->q, 64, kTileTokens * kTokenBytes, kTokenBytes};
  }

  /// What waits for its epilogue of a unit before the one at work.
  Pending<S> Waiting(int64_t unit, int stage) const {
    return {.scales = &work_->scales[unit % 4],
            .sums = &work_->sums[S::kStages == 1 ? unit % 2 : stage % 2],
            .input = input_of_[unit % 4],
            .acc = acc_of_[unit % 4],
            .stage = stage};
  }

  void RunUnit(int64_t s, int64_t p) {
    const int64_t unit = unit_++;
    const auto& tiles = work_->tiles[unit % 2];
    input_of_[unit % 4] = &work_->input[s % 4];
    acc_of_[unit % 4] = work_->acc + p * padded_;
    ReadUnit(unit + 1);
    if (s + 1 < steps_) AskTokens(s + 1, p);
#pragma GCC unroll 4
    for (int quarter = 0; quarter < 4; ++quarter) {
      // Sums of the stage before this are stored, and of the one before that they become floats.
      const int64_t stage = S::kStages == 1 ? unit + 1 : quarter + 1;
      S::template Products<kBoth, kBoth>(x_, tiles, quarter, &work_->sums[stage % 2]);
      if constexpr (S::kStages == 1) {
        if (unit >= done_ + 2 && 8 * quarter < tokens_)
          S::EpilogueRows(Waiting(unit - 2, 0), 8 * quarter);
      } else {
        const int64_t of = quarter < 2 ? unit - 1 : unit;
        if (of >= done_) {
          const Pending<S> waiting = Waiting(of, (quarter + 2) % 4);
          for (int64_t row = 0; row < tokens_; row += 8) S::EpilogueRows(waiting, row);
        }
      }
      Ask<false>(near_, quarter);
      UnpackQuarter(unit + 1, quarter);
      Ask<true>(far_, quarter);
    }
    near_.Next();
    far_.Next();
  }

  /// The last epilogues of a group.
  void Drain() {
    if constexpr (S::kStages == 1) {
      if (unit_ >= done_ + 2) Finish(Waiting(unit_ - 2, 0));
      S::Flush(&work_->sums[(unit_ - 1) % 2]);
      Finish(Waiting(unit_ - 1, 0));
    } else {
      Finish(Waiting(unit_ - 1, 2));
      S::Flush(&work_->sums[1]);
      Finish(Waiting(unit_ - 1, 3));
    }
  }
  void Finish(const Pending<S>& waiting) {
    for (int64_t row = 0; row < tokens_; row += 8) S::EpilogueRows(waiting, row);
  }

  /// The next unit of the call, at its end the last once more.
  void ReadUnit(int64_t unit) {
    if (unit != 0) unpacked_.Next();
    main_ = unpacked_.main();
    S::ReadScales(main_, unpacked_.tail(), &work_->scales[unit % 4]);
  }
  void UnpackQuarter(int64_t unit, int quarter) {
    S::Unpack(main_, work_->scales[unit % 4], quarter, &work_->tiles[unit % 2]);
  }

  /// For panel p's share of step s of the activations: rows of 14336 have left even the
  /// second-level cache, which the weights pass through, since the group before.
  void AskTokens(int64_t s, int64_t p) const {
    const int64_t first = token_share_ * p, left = tokens_ - first;
    const ActivationBlock* block = args_.xq + s * args_.xq_tokens + first;
    for (int64_t t = 0; t < token_share_ && t < left; ++t) {
      const auto* lines = reinterpret_cast<const std::byte*>(block + t);
      for (int64_t i = 0; i < kTokenBytes; i += 64) AskLine<false>(lines + i);
    }
  }

  /// For a quarter of the lines of a unit, in the second-level cache (kFar) or the first.
  template <bool kFar>
  static void Ask(const UnitWalk<S>& walk, int quarter) {
    constexpr int kLines = S::kMainBytes / 64;
    for (int i = quarter * kLines / 4; i < (quarter + 1) * kLines / 4; ++i)
      AskLine<kFar>(walk.main() + 64 * i);
    if (S::kTailBytes != 0 && quarter == 0) AskLine<kFar>(walk.tail());
  }
  template <bool kFar>
  static void AskLine(const std::byte* line) {
    if constexpr (kFar) {
      _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1);
    } else {
      _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T0);
    }
  }

  void StorePanel(int64_t p, int64_t row) {
    const int64_t rows = args_.rows - row;
    const auto mask = static_cast<__mmask16>(rows >= 16 ? 0xffff : (1u << rows) - 1);
    for (int64_t t = 0; t < tokens_; ++t) {
      _mm512_mask_storeu_ps(args_.y + t * args_.y_stride + row, mask,
                            _mm512_load_ps(work_->acc[p * padded_ + t]));
    }
  }

  const MatmulArgs& args_;
  FewWork<S>* work_;
  const int64_t tokens_, padded_, steps_, group_panels_;
  UnitWalk<S> unpacked_, near_, far_;
  TokenPlace x_ = {};                // of the step
  const std::byte* main_ = nullptr;  // of the unit being unpacked
  int64_t unit_ = 0;                 // units multiplied
  int64_t token_share_ = 0;          // tokens that a panel's unit asks for
  int64_t done_ = 0;                 // units whose epilogue is done, at the start of a group
  const typename S::Input* input_of_[4] = {};
  float (*acc_of_[4])[16] = {};
};

template <class S>
void MatmulFew(const MatmulArgs& args) {
  if (args.tokens == 0 || args.rows == 0) return;
  static_assert(sizeof(FewWork<S>) <= sizeof(Work<S>), "the scratch is for either");
  auto* work = reinterpret_cast<FewWork<S>*>(args.scratch);
  if (args.tokens > kTileTokens) {
    ConfigureTiles(S::kDepth, kTileTokens, args.tokens - kTileTokens);
    FewLoop<S, true>(args, work).Run();
  } else {
    ConfigureTiles(S::kDepth, args.tokens, args.tokens);
    FewLoop<S, false>(args, work).Run();
  }
  ReleaseTiles();
}

template <class S>
void MatmulTiles(const MatmulArgs& args) {
  if (S::kLayout == Layout::kPanel16 && args.tokens <= kStreamedTokens) {
    MatmulFew<S>(args);
    return;
  }
  ConfigureTiles(S::kDepth);
  // Chunks of equal size: a small one would have little to unpack for.
  const int64_t chunks = (args.tokens + kChunkTokens - 1) / kChunkTokens;
  const int64_t tiles = (args.tokens + kTileTokens - 1) / kTileTokens;
  const int64_t most = chunks == 0 ? 0 : (tiles + chunks - 1) / chunks * kTileTokens;
  for (int64_t token = 0; token < args.tokens; token += most) {
    const int64_t left = args.tokens - token, tokens = left < most ? left : most;
    for (int64_t row = 0; row < args.rows; row += kGroupPanels * kPanelRows) {
      UnitLoop<S>(args, reinterpret_cast<Work<S>*>(args.scratch), row, token, tokens).Run();
    }
  }
  ReleaseTiles();
}

}  // namespace
}  // namespace octet

#define OCTET_AMX_KERNEL(format_name, id, scheme, layout_name, from_tokens)               \
  {                                                                                       \
    .name = "x86_amx_int8/matmul_" format_name "." layout_name, .op = KernelOp::kMatmul,  \
    .isa = kIsaAvx512 | kIsaAvx512Vnni | kIsaAmxInt8, .speed = 40, .format = Format::id,  \
    .layout = scheme::kLayout, .arithmetic = Arithmetic::kFast,                           \
    .activations = scheme::kActivations, .min_tokens = scheme::from_tokens,               \
    .scratch_floats = sizeof(Work<scheme>) / sizeof(float), .matmul = MatmulTiles<scheme> \
  }
/// The two descriptors of a format: from packed panels, and from the file's rows.
#define OCTET_AMX_KERNELS(format_name, id, scheme)                                    \
  OCTET_AMX_KERNEL(format_name, id, scheme<Layout::kPanel16>, "panel16", kMinTokens), \
      OCTET_AMX_KERNEL(format_name, id, scheme<Layout::kRowMajor>, "row_major", kMinRowTokens)
