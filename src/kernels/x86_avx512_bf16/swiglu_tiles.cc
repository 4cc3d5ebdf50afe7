// SwiGLU between tile products, forward and backward: 32 columns of a row are a register of bf16,
// two rows of sixteen columns are one too.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx512/exp2.h"
#include "kernels/x86_avx512/transpose.h"
#include "kernels/x86_avx512_bf16/interleave.h"

namespace octet {
namespace {

__mmask16 Rest(int64_t left) {
  return static_cast<__mmask16>(left >= 16 ? 0xffff : left <= 0 ? 0 : (1u << left) - 1);
}

__m512 Sigmoid(__m512 g) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 e = Exp2(_mm512_mul_ps(g, _mm512_set1_ps(-kExpLog2E)));
  return _mm512_div_ps(one, _mm512_add_ps(one, e));
}

__m512 Hidden(__m512 g, __m512 u) { return _mm512_mul_ps(_mm512_mul_ps(g, Sigmoid(g)), u); }

/// The canonical tree.
float SumLanes(__m512 lanes) {
  const __m256 eight =
      _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/// To memory that is not read soon: past the caches where the line is whole.
void Keep(uint16_t* out, __mmask32 mask, __m512i values) {
  if (mask == 0xffffffffu && reinterpret_cast<uintptr_t>(out) % 64 == 0) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(out), values);
  } else {
    _mm512_mask_storeu_epi16(out, mask, values);
  }
}

/// 32 columns of one row from column c on; a row past the end is zeros and keeps nothing.
void ForwardLine(const SwiGluTilesArgs& args, int64_t r, int64_t c, uint16_t* out) {
  if (r >= args.rows) return _mm512_store_si512(out, _mm512_setzero_si512());
  const __mmask16 low = Rest(args.cols - c), high = Rest(args.cols - c - 16);
  const float *gate = args.gate + r * args.stride + c, *up = args.up + r * args.stride + c;
  const __m512 g0 = _mm512_maskz_loadu_ps(low, gate), g1 = _mm512_maskz_loadu_ps(high, gate + 16);
  const __m512 u0 = _mm512_maskz_loadu_ps(low, up), u1 = _mm512_maskz_loadu_ps(high, up + 16);
  const auto both = static_cast<__mmask32>(low | static_cast<uint32_t>(high) << 16);
  const int64_t kept = r * args.kept_stride + c;
  Keep(args.kept_gate + kept, both, Rounded(g0, g1));
  Keep(args.kept_up + kept, both, Rounded(u0, u1));
  _mm512_store_si512(out, Rounded(Hidden(g0, u0), Hidden(g1, u1)));
}

void SwiGluTiles(const SwiGluTilesArgs& args) {
  for (int64_t r = 0; r < (args.rows + 15) / 16 * 16; ++r) {
    uint16_t* line = args.hidden + r / 16 * args.panel_tiles * kTileValues + r % 16 * kTileDepth;
    for (int64_t c = 0; c < args.cols; c += kTileDepth, line += kTileValues)
      ForwardLine(args, r, c, line);
  }
  _mm_sfence();
}

struct Grads {
  __m512 hidden, d_gate, d_up;
};

/// Sixteen columns of a row; adds to the row's lanes of d_weight. kWhole: all of them exist.
template <bool kWhole>
inline Grads GradsOf(const SwiGluGradTilesArgs& args, int64_t r, int64_t c, __m512* d_weight) {
  const __mmask16 mask = kWhole ? __mmask16{0xffff} : r < args.rows ? Rest(args.cols - c) : 0;
  const __m512 one = _mm512_set1_ps(1.0f);
  const auto widened = [&](const uint16_t* kept) {
    const __m256i half = _mm256_maskz_loadu_epi16(mask, kept + r * args.kept_stride + c);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  };
  const __m512 g = widened(args.kept_gate), u = widened(args.kept_up);
  const __m512 weight = _mm512_set1_ps(kWhole || r < args.rows ? args.weight[r] : 0.0f);
  const __m512 unweighted = _mm512_maskz_loadu_ps(mask, args.d_hidden + r * args.stride + c);
  const __m512 d = _mm512_maskz_mul_ps(mask, weight, unweighted);
  const __m512 t = Sigmoid(g), gt = _mm512_mul_ps(g, t);
  const __m512 slope = _mm512_fmadd_ps(g, _mm512_sub_ps(one, t), one);
  const __m512 hidden = _mm512_mul_ps(gt, u);
  *d_weight = _mm512_mask3_fmadd_ps(hidden, unweighted, *d_weight, mask);
  return {_mm512_maskz_mul_ps(mask, hidden, weight),
          _mm512_mul_ps(_mm512_mul_ps(_mm512_mul_ps(d, u), t), slope), _mm512_mul_ps(d, gt)};
}

void Stream(uint16_t* out, __m512i values) {
  _mm512_stream_si512(reinterpret_cast<__m512i*>(out), values);
}

constexpr int64_t kAhead = 64;  // columns: two tiles

/// 32 rows and 32 columns from (r, c) on.
template <bool kWhole>
void GradTile(const SwiGluGradTilesArgs& args, int64_t r, int64_t c, __m512* d_weight) {
  __m512i gate[2][16], up[2][16];  // [half of the columns][pair of rows]
  const int64_t turned = args.turned_panel_tiles * kTileValues;
  const int64_t by_col = c / 16 * turned + r / kTileDepth * kTileValues;
  for (int64_t p = 0; p < 16; ++p) {
    Grads x[2][2];  // [row][half]
    for (int64_t k = 0; k < 2; ++k) {
      const int64_t row = r + 2 * p + k;
      // A line a row is no stream that the hardware would follow.
      const int64_t ahead = row * args.kept_stride + c + kAhead;
      _mm_prefetch(args.kept_gate + ahead, _MM_HINT_T0);
      _mm_prefetch(args.kept_up + ahead, _MM_HINT_T0);
      for (int64_t h = 0; h < 2; ++h)
        x[k][h] = GradsOf<kWhole>(args, row, c + 16 * h, d_weight + 2 * p + k);
      const int64_t line =
          (row / 16 * args.panel_tiles + c / kTileDepth) * kTileValues + row % 16 * kTileDepth;
      _mm512_store_si512(args.d_gate + line, Rounded(x[k][0].d_gate, x[k][1].d_gate));
      _mm512_store_si512(args.d_up + line, Rounded(x[k][0].d_up, x[k][1].d_up));
    }
    for (int64_t h = 0; h < 2; ++h) {
      gate[h][p] = Interleaved(x[0][h].d_gate, x[1][h].d_gate);
      up[h][p] = Interleaved(x[0][h].d_up, x[1][h].d_up);
      Stream(args.hidden_turned + by_col + h * turned + p * kTileDepth,
             Interleaved(x[0][h].hidden, x[1][h].hidden));
    }
  }
  for (int64_t h = 0; h < 2; ++h) {
    TransposeWords(gate[h]);
    TransposeWords(up[h]);
    for (int64_t i = 0; i < 16; ++i) {
      const int64_t line = by_col + h * turned + i * kTileDepth;
      Stream(args.d_gate_turned + line, gate[h][i]);
      Stream(args.d_up_turned + line, up[h][i]);
    }
  }
}

/// 32 rows from r on.
void GradStrip(const SwiGluGradTilesArgs& args, int64_t r) {
  __m512 d_weight[kTileDepth];
  for (__m512& sum : d_weight) sum = _mm512_setzero_ps();
  const int64_t whole = r + kTileDepth <= args.rows ? args.cols / kTileDepth * kTileDepth : 0;
  int64_t c = 0;
  for (; c < whole; c += kTileDepth) GradTile<true>(args, r, c, d_weight);
  for (; c < args.cols; c += kTileDepth) GradTile<false>(args, r, c, d_weight);
  for (int64_t i = 0; i < kTileDepth && r + i < args.rows; ++i)
    args.d_weight[r + i] = SumLanes(d_weight[i]);
}

void SwiGluGradTiles(const SwiGluGradTilesArgs& args) {
  for (int64_t r = 0; r < args.rows; r += kTileDepth) GradStrip(args, r);
  _mm_sfence();
}

}  // namespace

#define OCTET_SWIGLU_TILES(op_id, member, function)                                                \
  {                                                                                                \
    .name = "x86_avx512_bf16/" #member, .op = KernelOp::op_id, .isa = kIsaAvx512 | kIsaAvx512Bf16, \
    .speed = 35, .member = function                                                                \
  }

OCTET_KERNELS(x86_avx512_bf16_swiglu_tiles) = {
    OCTET_SWIGLU_TILES(kSwiGluTiles, swiglu_tiles, SwiGluTiles),
    OCTET_SWIGLU_TILES(kSwiGluGradTiles, swiglu_grad_tiles, SwiGluGradTiles),
    {},
};

}  // namespace octet
