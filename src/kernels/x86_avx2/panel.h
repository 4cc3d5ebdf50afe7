// The walk over a kPanel16 matrix with 256-bit registers: each panel in two halves of eight rows.
// Without VNNI, products of unsigned codes and signed activations are summed as pairs in 16 bits
// (vpmaddubsw), as many as fit, and then widened by a multiplication with the group's scale.
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

// Lines are asked for twice: far ahead into the second-level cache, which can wait for many more of
// them than the first, and then from there.
constexpr int64_t kFarBytes = 4096, kNearBytes = 1024;
constexpr int kMaxTokens = 2;       // that share the unpacked codes: sixteen registers
constexpr int64_t kFewTokens = 32;  // whose sums lie in memory during a panel

/// Eight rows of a word of the panel. `main` points at the half's first row.
inline __m256i LoadWord(const std::byte* main, int word) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(main + 64 * word));
}
/// Eight binary16 to float.
inline __m256 LoadHalves(const std::byte* p) {
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
}
/// Bits [shift, …) of every byte, cut by `mask`.
inline __m256i Field(__m256i word, int shift, int mask) {
  return _mm256_and_si256(_mm256_srl_epi16(word, _mm_cvtsi32_si128(shift)),
                          _mm256_set1_epi8(static_cast<char>(mask)));
}

/// Four neighbouring codes of a token, in every lane.
inline __m256i Four(const ActivationBlock& x, int word) {
  int32_t four;
  __builtin_memcpy(&four, x.q + 4 * word, sizeof(four));
  return _mm256_set1_epi32(four);
}

/// Asks for the lines that follow [p, p + bytes) in the stream.
inline void AskAhead(const std::byte* p, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(p + kFarBytes + i), _MM_HINT_T1);
    _mm_prefetch(reinterpret_cast<const char*>(p + kNearBytes + i), _MM_HINT_T0);
  }
}

/// Eight rows of a step for all tokens; `main` and `tail` point at the first of them.
template <class F>
inline void HalfStep(const std::byte* main, const std::byte* tail, const ActivationBlock* x,
                     int64_t tokens, __m256* acc) {
  int64_t t = 0;
  for (; t + kMaxTokens <= tokens; t += kMaxTokens) {
    F::template Step<kMaxTokens>(main, tail, x + t, acc + t);
  }
  if (t < tokens) F::template Step<1>(main, tail, x + t, acc + t);
}

/// Up to kFewTokens tokens from token t on of the panel whose first row is `row`. Steps are
/// outermost, so that each comes from memory once.
template <class F>
void RunPanel(const MatmulArgs& args, const std::byte* panel, int64_t row, int64_t t) {
  constexpr int64_t kStepBytes = F::kMainBytes + F::kTailBytes;
  const int64_t steps = (args.cols + kPanelStep - 1) / kPanelStep;
  const int64_t left = args.tokens - t, tokens = left < kFewTokens ? left : kFewTokens;
  const int64_t halves = args.rows - row > 8 ? 2 : 1;
  __m256 acc[2][kFewTokens];
  for (int64_t i = 0; i < tokens; ++i) acc[0][i] = acc[1][i] = _mm256_setzero_ps();
  for (int64_t s = 0; s < steps; ++s) {
    const int64_t partner = s % 2, mains = s + 1 < steps || partner == 1 ? 2 : 1;
    const std::byte* pair = panel + (s - partner) * kStepBytes;
    const std::byte* main = pair + partner * F::kMainBytes;
    const std::byte* tail = pair + mains * F::kMainBytes + partner * F::kTailBytes;
    const ActivationBlock* x = args.xq + s * args.xq_tokens + t;
    for (int64_t half = 0; half < halves; ++half) {
      if (t == 0) AskAhead(panel + s * kStepBytes + half * (kStepBytes / 2), kStepBytes / 2);
      HalfStep<F>(main + 32 * half, tail + 16 * half, x, tokens, acc[half]);
    }
  }
  alignas(32) float sums[kPanelRows];
  for (int64_t i = 0; i < tokens; ++i) {
    _mm256_store_ps(sums, acc[0][i]);
    _mm256_store_ps(sums + 8, acc[1][i]);
    float* y = args.y + (t + i) * args.y_stride;
    for (int64_t r = 0; r < kPanelRows && row + r < args.rows; ++r) y[row + r] = sums[r];
  }
}

/// Layout::kPanel16.
template <class F>
void MatmulPanels(const MatmulArgs& args) {
  const int64_t steps = (args.cols + kPanelStep - 1) / kPanelStep;
  const int64_t panel_bytes = (steps * (F::kMainBytes + F::kTailBytes) + 63) / 64 * 64;
  const std::byte* panel = args.w;
  for (int64_t row = 0; row < args.rows; row += kPanelRows, panel += panel_bytes) {
    for (int64_t t = 0; t < args.tokens; t += kFewTokens) RunPanel<F>(args, panel, row, t);
  }
}

constexpr int64_t kTokenChunk = 256;       // tokens that share a repacked step
constexpr int64_t kStepFloats = 4608 / 4;  // one step of any format

/// Layout::kRowMajor: each step is repacked into scratch, then serves all tokens. Same bits as
/// packed.
template <class F>
void MatmulRowMajor(const MatmulArgs& args) {
  constexpr int64_t kStepRowBytes = (F::kMainBytes + F::kTailBytes) / kPanelRows;
  auto* step = reinterpret_cast<std::byte*>(args.scratch);
  auto* acc = reinterpret_cast<__m256*>(args.scratch + kStepFloats);  // [tokens][2 halves]
  const int64_t steps = (args.cols + kPanelStep - 1) / kPanelStep;
  for (int64_t row = 0; row < args.rows; row += kPanelRows) {
    for (int64_t chunk = 0; chunk < args.tokens; chunk += kTokenChunk) {
      const int64_t left = args.tokens - chunk, tokens = left < kTokenChunk ? left : kTokenChunk;
      for (int64_t i = 0; i < 2 * tokens; ++i) acc[i] = _mm256_setzero_ps();
      for (int64_t s = 0; s < steps; ++s) {
        const std::byte* rows[kPanelRows];
        for (int64_t r = 0; r < kPanelRows; ++r) {
          rows[r] = row + r < args.rows ? args.w + (row + r) * args.w_row_bytes + s * kStepRowBytes
                                        : nullptr;
        }
        args.pack(rows, (args.cols - s * kPanelStep) / 32, step, step + F::kMainBytes);
        for (int64_t t = 0; t < tokens; ++t) {
          const ActivationBlock* x = args.xq + s * args.xq_tokens + chunk + t;
          F::template Step<1>(step, step + F::kMainBytes, x, acc + 2 * t);
          F::template Step<1>(step + 32, step + F::kMainBytes + 16, x, acc + 2 * t + 1);
        }
      }
      const auto* sums = reinterpret_cast<const float*>(acc);
      for (int64_t t = 0; t < tokens; ++t) {
        float* y = args.y + (chunk + t) * args.y_stride + row;
        for (int64_t r = 0; r < kPanelRows && row + r < args.rows; ++r) y[r] = sums[16 * t + r];
      }
    }
  }
}

constexpr int32_t kRowMajorScratch = kStepFloats + 16 * kTokenChunk;

}  // namespace
}  // namespace octet

#define OCTET_AVX2_KERNEL(format_name, id, step)                                                   \
  {.name = "x86_avx2/matmul_" format_name ".panel16",                                              \
   .op = KernelOp::kMatmul,                                                                        \
   .isa = kIsaAvx2,                                                                                \
   .speed = 10,                                                                                    \
   .format = Format::id,                                                                           \
   .layout = Layout::kPanel16,                                                                     \
   .arithmetic = Arithmetic::kFast,                                                                \
   .activations = step::kActivations,                                                              \
   .matmul = MatmulPanels<step>},                                                                  \
  {                                                                                                \
    .name = "x86_avx2/matmul_" format_name ".row_major", .op = KernelOp::kMatmul, .isa = kIsaAvx2, \
    .speed = 10, .format = Format::id, .layout = Layout::kRowMajor,                                \
    .arithmetic = Arithmetic::kFast, .activations = step::kActivations,                            \
    .scratch_floats = kRowMajorScratch, .matmul = MatmulRowMajor<step>                             \
  }
