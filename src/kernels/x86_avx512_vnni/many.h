// The walk over a matrix for many tokens. Two panels and up to six tokens are multiplied at once,
// so that one broadcast of four activations serves two products, and a panel's codes serve six:
// their sums fill the registers. What a step needs beside its codes (scales as 32-bit values, pairs
// of minima) is made ready once for all tokens.
//
// Steps are walked in blocks whose activations stay in the second-level cache while all panels of
// the call pass; sums of floats wait there too.
//
// A format F says
//   kManyTokens                        fewer are faster one panel at a time (measured)
//   Prepare(main, tail, unit)          what it reads of a Unit
//   Tile<N>(unit, x, acc, ahead)       two panels times N tokens of a step
//   kParts                             of a tile, each of which asks for its share of later lines
//   kAheadBytes                        how far ahead (measured)
#pragma once

#include "kernels/x86_avx512_vnni/panel.h"

namespace octet {
namespace {

constexpr int kTilePanels = 2, kTileTokens = 6;
constexpr int64_t kManyPanels = 32;          // whose sums wait: 512 KiB of 256 tokens
constexpr int64_t kManyChunk = 256;          // tokens
constexpr int64_t kBlockBytes = 384 * 1024;  // activations of a block of steps

// Lines of later steps are asked for right into the first-level cache; into the second only is
// slower. Few tokens of formats with integer scales gain from a line at a time between products,
// asked for further ahead than bursts are (measured: 12 KiB; 8 and 20 are about the same). A tile
// of them has a part for each word of codes.
constexpr int kWordParts = 64;
constexpr int64_t kWordsAheadBytes = 12 * 1024;
// What only asks for lines must be inlined: g++ takes such a function for one without effect and
// drops its calls.
#define OCTET_ALWAYS_INLINE inline __attribute__((always_inline))

/// A panel's step. Which parts are filled is the format's choice.
struct alignas(64) Unit {
  const std::byte* main;
  __m512i scale[16];
  __m512i min_pair[8];  // of int16, groups 2i and 2i + 1
  __m512 d, dmin;
  __m512i code[64];  // word w: values 4w … 4w + 3
};

/// Sums of a token and the panels of a tile.
using TileSums = float[kTilePanels][16];

/// Lines of later steps, which are asked for between products: a core waits for few at a time.
struct Ahead {
  const std::byte* at[kTilePanels];
  int64_t share;  // bytes of each part of a tile (F::kParts)

  /// kOne: a share is not longer than a line. One that two shares meet in is asked for twice.
  template <bool kOne>
  OCTET_ALWAYS_INLINE void Ask() {
    int64_t i = 0;
    do {
      for (const std::byte* panel : at)
        _mm_prefetch(reinterpret_cast<const char*>(panel + i), _MM_HINT_T0);
      i += 64;
    } while (!kOne && i < share);
    Pass(1);
  }
  void Pass(int64_t parts) {
    for (const std::byte*& panel : at) panel += parts * share;
  }
};

struct ManyWork {
  alignas(64) Unit unit[kTilePanels];
  alignas(64) std::byte step[kTilePanels][4608];  // repacked, for row-major weights
  alignas(64) TileSums acc[kManyPanels / kTilePanels * kManyChunk];
};
constexpr int32_t kManyScratch = sizeof(ManyWork) / sizeof(float);

/// isum of the tile's panels and tokens, for formats with integer scales. Those of F:
///   kGroups, kTogether   groups, of a scale each; how many share a loop's body
///   kOffset              what codes lie above their values
///   kScaled              whether sums take Unit::scale; else the codes hold it already
///   Code(unit, g, j, w)  the codes of word w of group g + j
template <class F, int N>
OCTET_ALWAYS_INLINE void ScaledSums(const Unit* unit, const StepX<N>& x, __m512i (*isum)[N],
                                    Ahead& ahead) {
  constexpr int kWords = 64 / F::kGroups;
  alignas(64) int32_t start[N][16];
  if constexpr (F::kScaled && F::kOffset != 0) {
    if constexpr (F::kGroups == 16) {
      OffsetStarts(x, F::kOffset, start);
    } else {
      OffsetStarts32(x, F::kOffset, start);
    }
  }
#pragma GCC unroll 1
  for (int g = 0; g < F::kGroups; g += F::kTogether) {
#pragma GCC unroll 2
    for (int j = 0; j < F::kTogether; ++j) {
      __m512i sum[kTilePanels][N];
#pragma GCC unroll 2
      for (int p = 0; p < kTilePanels; ++p) {
#pragma GCC unroll 6
        for (int t = 0; t < N; ++t) {
          if constexpr (!F::kScaled) {
            sum[p][t] = isum[p][t];
          } else if constexpr (F::kOffset != 0) {
            sum[p][t] = _mm512_set1_epi32(start[t][g + j]);
          } else {
            sum[p][t] = _mm512_setzero_si512();
          }
        }
      }
#pragma GCC unroll 8
      for (int w = 0; w < kWords; ++w) {
        ahead.Ask<true>();
        __m512i code[kTilePanels];
#pragma GCC unroll 2
        for (int p = 0; p < kTilePanels; ++p) code[p] = F::Code(unit[p], g, j, w);
#pragma GCC unroll 6
        for (int t = 0; t < N; ++t) {
          const __m512i four = x.Four(t, 4 * (kWords * (g + j) + w));
#pragma GCC unroll 2
          for (int p = 0; p < kTilePanels; ++p)
            sum[p][t] = _mm512_dpbusd_epi32(sum[p][t], code[p], four);
        }
      }
#pragma GCC unroll 2
      for (int p = 0; p < kTilePanels; ++p) {
#pragma GCC unroll 6
        for (int t = 0; t < N; ++t) {
          isum[p][t] = F::kScaled
                           ? _mm512_add_epi32(isum[p][t],
                                              _mm512_mullo_epi32(sum[p][t], unit[p].scale[g + j]))
                           : sum[p][t];
        }
      }
    }
  }
}

/// A 16-bit value in both halves of every lane.
inline __m512i BothHalves(__m512i lanes) {
  return _mm512_or_si512(lanes, _mm512_slli_epi32(lanes, 16));
}

/// Bytes scale · (code - offset) + bias, all within 0 … 255: so two of them are one product of 16
/// bits. `scale` in both halves of a lane.
inline __m512i ScaledBytes(__m512i codes, __m512i scale, int offset, int bias) {
  const auto both = [](int byte) { return _mm512_set1_epi16(static_cast<int16_t>(257 * byte)); };
  const __m512i start = _mm512_sub_epi16(both(bias), _mm512_mullo_epi16(scale, both(offset)));
  return _mm512_add_epi16(_mm512_mullo_epi16(codes, scale), start);
}

/// The tile of a format with integer scales; beside ScaledSums' of F:
///   kMinPairs  0, or of Unit::min_pair (4: groups of 32; 8: of 16)
///   kBias      what codes that hold their scales lie above their values
template <class F, int N>
__attribute__((noinline)) void ScaledTile(const Unit* unit, const ActivationBlock* block,
                                          TileSums* acc, Ahead ahead) {
  const StepX<N> x{block};
  __m512i isum[kTilePanels][N];
#pragma GCC unroll 6
  for (int t = 0; t < N; ++t) {
    isum[0][t] = _mm512_setzero_si512();
    if constexpr (F::kBias != 0) {
      const __m512i bias = _mm512_set1_epi16(-F::kBias), biases[4] = {bias, bias, bias, bias};
      isum[0][t] = PairSum<4>(biases, block[t].sum32, isum[0][t]);
    }
    isum[1][t] = isum[0][t];
  }
  ScaledSums<F, N>(unit, x, isum, ahead);
#pragma GCC unroll 2
  for (int p = 0; p < kTilePanels; ++p) {
#pragma GCC unroll 6
    for (int t = 0; t < N; ++t) {
      __m512 v = _mm512_mul_ps(unit[p].d, _mm512_cvtepi32_ps(isum[p][t]));
      if constexpr (F::kMinPairs != 0) {
        const int16_t* sums = F::kMinPairs == 4 ? block[t].sum32 : block[t].sum16;
        const __m512i least = PairSum<F::kMinPairs>(unit[p].min_pair, sums, _mm512_setzero_si512());
        v = _mm512_fnmadd_ps(unit[p].dmin, _mm512_cvtepi32_ps(least), v);
      }
      _mm512_store_ps(acc[t][p], _mm512_fmadd_ps(v, x.Scale(t), _mm512_load_ps(acc[t][p])));
    }
  }
}

template <class F>
void RunTile(const Unit* unit, const ActivationBlock* x, int64_t tokens, TileSums* acc,
             const Ahead& ahead) {
  switch (tokens) {
    case 1:
      return F::template Tile<1>(unit, x, acc, ahead);
    case 2:
      return F::template Tile<2>(unit, x, acc, ahead);
    case 3:
      return F::template Tile<3>(unit, x, acc, ahead);
    case 4:
      return F::template Tile<4>(unit, x, acc, ahead);
    case 5:
      return F::template Tile<5>(unit, x, acc, ahead);
    default:
      return F::template Tile<6>(unit, x, acc, ahead);
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
    for (int64_t i = 0; i < (panels_ + 1) / 2 * tokens_; ++i) {
      for (int p = 0; p < kTilePanels; ++p) _mm512_store_ps(work_->acc[i][p], _mm512_setzero_ps());
    }
    if (kLayout == Layout::kPanel16) AskFirst();
    for (first_ = 0; first_ < steps_; first_ += block) {
      end_ = Least(first_ + block, steps_);
      for (int64_t panel = 0; panel < panels_; panel += kTilePanels) {
        for (int64_t s = first_; s < end_; ++s) RunStep(panel, s);
      }
    }
    for (int64_t t = 0; t < tokens_; ++t) StoreToken(t);
  }

 private:
  static constexpr int64_t kStepBytes = F::kMainBytes + F::kTailBytes;
  static constexpr int64_t kAheadSteps = F::kAheadBytes / kStepBytes;
  static_assert(F::kParts < kWordParts || kStepBytes <= 64 * kWordParts);

  static int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

  const std::byte* Panel(int64_t panel) const {
    const int64_t bytes = (steps_ * kStepBytes + 63) / 64 * 64;
    return args_.w + (row_ / kPanelRows + Least(panel, panels_ - 1)) * bytes;
  }

  /// Two panels of a step times all tokens, in groups of like sizes. The last panel of an odd
  /// number is multiplied twice.
  void RunStep(int64_t panel, int64_t s) {
    for (int p = 0; p < kTilePanels; ++p) Prepare(Least(panel + p, panels_ - 1), s, p);
    const ActivationBlock* x = args_.xq + s * args_.xq_tokens + token_;
    TileSums* acc = work_->acc + panel / kTilePanels * tokens_;
    int64_t groups = (tokens_ + kTileTokens - 1) / kTileTokens;
    Ahead ahead = LaterLines(panel, s, groups);
    for (int64_t t = 0, n; t < tokens_; t += n) {
      n = (tokens_ - t) / groups--;
      RunTile<F>(work_->unit, x + t, n, acc + t, ahead);
      ahead.Pass(F::kParts);
    }
  }

  OCTET_ALWAYS_INLINE void AskFirst() const {
    for (int64_t i = 0; i < Least(kAheadSteps, steps_) * kStepBytes; i += 64) {
      for (int p = 0; p < kTilePanels; ++p)
        _mm_prefetch(reinterpret_cast<const char*>(Panel(p) + i), _MM_HINT_T0);
    }
  }

  /// What comes kAheadSteps later, shared among the parts of `groups` tiles.
  Ahead LaterLines(int64_t panel, int64_t s, int64_t groups) const {
    if (kLayout != Layout::kPanel16) return {{args_.w, args_.w}, 0};  // a line that is near
    for (s += kAheadSteps; s >= end_; s -= end_ - first_) panel += kTilePanels;
    const int64_t parts = F::kParts * groups;
    return {{Panel(panel) + s * kStepBytes, Panel(panel + 1) + s * kStepBytes},
            (kStepBytes + parts - 1) / parts};
  }

  void Prepare(int64_t panel, int64_t s, int p) {
    if constexpr (kLayout == Layout::kPanel16) {
      const StepPlace<F> place(Panel(panel), s, steps_);
      F::Prepare(place.main, place.tail, &work_->unit[p]);
    } else {
      RepackStep<F>(args_, row_ + panel * kPanelRows, s, work_->step[p]);
      F::Prepare(work_->step[p], work_->step[p] + F::kMainBytes, &work_->unit[p]);
    }
  }

  void StoreToken(int64_t t) {
    for (int64_t panel = 0; panel < panels_; ++panel) {
      const TileSums& sums = work_->acc[panel / kTilePanels * tokens_ + t];
      StoreRows(args_, token_ + t, row_ + panel * kPanelRows,
                _mm512_load_ps(sums[panel % kTilePanels]));
    }
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

template <class F>
void MatmulPacked(const MatmulArgs& args) {
  args.tokens < F::kManyTokens ? MatmulPanels<F>(args) : MatmulMany<F, Layout::kPanel16>(args);
}
template <class F>
void MatmulUnpacked(const MatmulArgs& args) {
  args.tokens < F::kManyTokens ? MatmulRowMajor<F>(args) : MatmulMany<F, Layout::kRowMajor>(args);
}

}  // namespace
}  // namespace octet

/// The two descriptors of a format: from packed panels, and from the file's rows.
#define OCTET_VNNI_KERNELS(format_name, id, step)                                        \
  {.name = "x86_avx512_vnni/matmul_" format_name ".panel16",                             \
   .op = KernelOp::kMatmul,                                                              \
   .isa = kIsaAvx512 | kIsaAvx512Vnni,                                                   \
   .speed = 30,                                                                          \
   .format = Format::id,                                                                 \
   .layout = Layout::kPanel16,                                                           \
   .arithmetic = Arithmetic::kFast,                                                      \
   .activations = step::kActivations,                                                    \
   .scratch_floats = kManyScratch,                                                       \
   .matmul = MatmulPacked<step>},                                                        \
  {                                                                                      \
    .name = "x86_avx512_vnni/matmul_" format_name ".row_major", .op = KernelOp::kMatmul, \
    .isa = kIsaAvx512 | kIsaAvx512Vnni, .speed = 30, .format = Format::id,               \
    .layout = Layout::kRowMajor, .arithmetic = Arithmetic::kFast,                        \
    .activations = step::kActivations, .scratch_floats = kManyScratch,                   \
    .matmul = MatmulUnpacked<step>                                                       \
  }
