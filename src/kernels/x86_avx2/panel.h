// The walk over a kPanel16 matrix with 256-bit registers: each panel in two halves of eight rows.
// Without VNNI, products of unsigned codes and signed activations are summed as pairs in 16 bits
// (vpmaddubsw), as many as fit, and then widened by a multiplication with the group's scale.
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

constexpr int64_t kPrefetchBytes = 4608;  // about two steps of Q4_K
constexpr int kMaxTokens = 2;             // that share the unpacked codes: sixteen registers

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

/// acc[t] of one half panel for N tokens over all steps; rows [row, row + 8).
template <class F, int N>
void RunTokens(const MatmulArgs& args, const std::byte* panel, int64_t row, int64_t t) {
  constexpr int64_t kStepBytes = F::kMainBytes + F::kTailBytes;
  const int64_t steps = (args.cols + kPanelStep - 1) / kPanelStep, half = row / 8 % 2;
  __m256 acc[N];
  for (int i = 0; i < N; ++i) acc[i] = _mm256_setzero_ps();
  for (int64_t s = 0; s < steps; ++s) {
    const int64_t partner = s % 2, mains = s + 1 < steps || partner == 1 ? 2 : 1;
    const std::byte* pair = panel + (s - partner) * kStepBytes;
    const std::byte* main = pair + partner * F::kMainBytes;
    const std::byte* tail = pair + mains * F::kMainBytes + partner * F::kTailBytes;
    if (half == 0 && t == 0) {
      for (int64_t i = 0; i < kStepBytes; i += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(main + kPrefetchBytes + i), _MM_HINT_T0);
      }
    }
    const ActivationBlock* x = args.xq + s * args.xq_tokens + t;
    F::template Step<N>(main + 32 * half, tail + 16 * half, x, acc);
  }
  alignas(32) float sums[8];
  for (int i = 0; i < N; ++i) {
    _mm256_store_ps(sums, acc[i]);
    float* y = args.y + (t + i) * args.y_stride;
    for (int64_t r = 0; r < 8 && row + r < args.rows; ++r) y[row + r] = sums[r];
  }
}

/// All tokens of one panel whose first row is `row`.
template <class F>
void RunPanel(const MatmulArgs& args, const std::byte* panel, int64_t row) {
  for (int64_t r = row; r < row + kPanelRows && r < args.rows; r += 8) {
    int64_t t = 0;
    for (; t + kMaxTokens <= args.tokens; t += kMaxTokens) {
      RunTokens<F, kMaxTokens>(args, panel, r, t);
    }
    if (t < args.tokens) RunTokens<F, 1>(args, panel, r, t);
  }
}

/// Layout::kPanel16.
template <class F>
void MatmulPanels(const MatmulArgs& args) {
  const int64_t steps = (args.cols + kPanelStep - 1) / kPanelStep;
  const int64_t panel_bytes = (steps * (F::kMainBytes + F::kTailBytes) + 63) / 64 * 64;
  const std::byte* panel = args.w;
  for (int64_t row = 0; row < args.rows; row += kPanelRows, panel += panel_bytes) {
    RunPanel<F>(args, panel, row);
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
   .activations = Activations::kInt8,                                                              \
   .matmul = MatmulPanels<step>},                                                                  \
  {                                                                                                \
    .name = "x86_avx2/matmul_" format_name ".row_major", .op = KernelOp::kMatmul, .isa = kIsaAvx2, \
    .speed = 10, .format = Format::id, .layout = Layout::kRowMajor,                                \
    .arithmetic = Arithmetic::kFast, .activations = Activations::kInt8,                            \
    .scratch_floats = kRowMajorScratch, .matmul = MatmulRowMajor<step>                             \
  }
