// Training's softmax of scores and its gradient: scores lie by key, so sixteen queries are a
// register and what a query needs is one too.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_amx_bf16/interleave.h"
#include "kernels/x86_amx_bf16/span_softmax.h"
#include "kernels/x86_amx_bf16/transpose.h"

namespace octet {
namespace {

constexpr int64_t kLanes = 16, kBlockTiles = kScoreSide / kTileDepth;

__mmask16 FirstLanes(int64_t n) {
  return static_cast<__mmask16>(n >= kLanes ? 0xffff : n <= 0 ? 0 : (1u << n) - 1);
}

/// The queries [i, i + 16) of the block that see its key j.
__mmask16 Seeing(const ScoreBlock& b, int64_t i, int64_t j) {
  if (j >= b.keys) return 0;
  const int64_t distance = b.first_key + j - (b.first_query + i);  // from the first query
  __mmask16 mask = FirstLanes(b.queries - i) & static_cast<__mmask16>(~FirstLanes(distance));
  if (b.window != 0) mask &= FirstLanes(distance + b.window);
  return mask;
}

__m512 Weight(__m512 score, __m512 shift) {
  return Exp2(_mm512_mul_ps(_mm512_sub_ps(score, shift), _mm512_set1_ps(kExpLog2E)));
}

__m512 Greatest(const ScoreSoftmaxArgs& args, int64_t i) {
  __m512 even = _mm512_set1_ps(kLowest), odd = even;
  for (int64_t j = 0; j < args.block.keys; j += 2) {
    const float* s = args.s + j * args.stride + i;
    const __mmask16 first = Seeing(args.block, i, j), second = Seeing(args.block, i, j + 1);
    even = _mm512_mask_max_ps(even, first, even, _mm512_maskz_loadu_ps(first, s));
    odd = _mm512_mask_max_ps(odd, second, odd, _mm512_maskz_loadu_ps(second, s + args.stride));
  }
  return _mm512_max_ps(even, odd);
}

/// Sixteen queries from i on.
void SoftmaxStrip(const ScoreSoftmaxArgs& args, int64_t i) {
  const ScoreBlock& b = args.block;
  const __m512 m = Greatest(args, i);
  __m512 sum = _mm512_setzero_ps();
  uint16_t* out = args.pairs + i / kTileOutputs * args.panel_tiles * kTileValues;
  const int64_t end = (b.keys + kTileDepth - 1) / kTileDepth * kTileDepth;
  for (int64_t j = 0; j < end; j += 2, out += 32) {
    const float* s = args.s + j * args.stride + i;
    const __mmask16 first = Seeing(b, i, j), second = Seeing(b, i, j + 1);
    const __m512 low = _mm512_maskz_mov_ps(first, Weight(_mm512_maskz_loadu_ps(first, s), m));
    const __m512 high =
        _mm512_maskz_mov_ps(second, Weight(_mm512_maskz_loadu_ps(second, s + args.stride), m));
    sum = _mm512_add_ps(_mm512_add_ps(sum, low), high);
    _mm512_store_si512(out, Interleaved(low, high));
  }
  const __mmask16 queries = FirstLanes(b.queries - i);
  _mm512_mask_storeu_ps(args.m + i, queries, m);
  _mm512_mask_storeu_ps(args.sum + i, queries, sum);
}

void ScoreSoftmax(const ScoreSoftmaxArgs& args) {
  for (int64_t i = 0; i < args.block.queries; i += kLanes) SoftmaxStrip(args, i);
}

struct WeightAndGrad {
  __m512 p, d_s;
};
WeightAndGrad GradOf(const ScoreGradArgs& args, int64_t i, int64_t j, __m512 log_sum,
                     __m512 delta) {
  const __mmask16 mask = Seeing(args.block, i, j);
  const int64_t at = j * args.stride + i;
  const __m512 p =
      _mm512_maskz_mov_ps(mask, Weight(_mm512_maskz_loadu_ps(mask, args.s + at), log_sum));
  const __m512 d_p = _mm512_maskz_loadu_ps(mask, args.d_p + at);
  return {p, _mm512_maskz_mul_ps(mask, p, _mm512_sub_ps(d_p, delta))};
}

/// 32 queries from i on.
void GradStrip(const ScoreGradArgs& args, int64_t i) {
  const ScoreBlock& b = args.block;
  __m512 log_sum[2], delta[2];
  for (int h = 0; h < 2; ++h) {
    const __mmask16 queries = FirstLanes(b.queries - i - h * kLanes);
    log_sum[h] = _mm512_maskz_loadu_ps(queries, args.log_sum + i + h * kLanes);
    delta[h] = _mm512_maskz_loadu_ps(queries, args.delta + i + h * kLanes);
  }
  const int64_t end = (b.keys + kTileDepth - 1) / kTileDepth * kTileDepth;
  for (int64_t j = 0; j < end; j += 2) {
    WeightAndGrad x[2][2];  // [key][half of the queries]
    for (int k = 0; k < 2; ++k) {
      for (int h = 0; h < 2; ++h)
        x[k][h] = GradOf(args, i + h * kLanes, j + k, log_sum[h], delta[h]);
      const int64_t key = j + k;
      const int64_t at =
          (key / kTileOutputs * kBlockTiles + i / kTileDepth) * kTileValues + key % 16 * 32;
      _mm512_store_si512(args.p + at, Rounded(x[k][0].p, x[k][1].p));
      _mm512_store_si512(args.d_s + at, Rounded(x[k][0].d_s, x[k][1].d_s));
    }
    for (int h = 0; h < 2; ++h) {
      const int64_t panel = i / kTileOutputs + h;
      _mm512_store_si512(
          args.d_s_pairs + (panel * kBlockTiles + j / kTileDepth) * kTileValues + j % 32 * 16,
          Interleaved(x[0][h].d_s, x[1][h].d_s));
    }
  }
}

void ScoreGrad(const ScoreGradArgs& args) {
  for (int64_t i = 0; i < args.block.queries; i += 2 * kLanes) GradStrip(args, i);
}

void Turn(const TurnArgs& args) {
  for (int64_t c = 0; c < args.cols; c += kLanes) {
    const __mmask16 cols = FirstLanes(args.cols - c);
    const __m512 scale = _mm512_maskz_loadu_ps(cols, args.scale + c);
    for (int64_t r = 0; r < args.rows; r += kLanes) {
      const __mmask16 rows = FirstLanes(args.rows - r);
      __m512i words[16];
      for (int64_t k = 0; k < kLanes; ++k) {
        const __mmask16 mask = r + k < args.rows ? cols : __mmask16{0};
        const __m512 x = _mm512_maskz_loadu_ps(mask, args.in + (r + k) * args.in_stride + c);
        words[k] = _mm512_castps_si512(_mm512_mul_ps(x, scale));
      }
      TransposeWords(words);
      for (int64_t k = 0; k < kLanes && c + k < args.cols; ++k) {
        _mm512_mask_storeu_ps(args.out + (c + k) * args.out_stride + r, rows,
                              _mm512_castsi512_ps(words[k]));
      }
    }
  }
}

}  // namespace

#define OCTET_SCORES(op_id, member, function)                                    \
  {                                                                              \
    .name = "x86_amx_bf16/" #member, .op = KernelOp::op_id,                      \
    .isa = kIsaAvx512 | kIsaAvx512Vnni | kIsaAmxInt8 | kIsaAmxBf16, .speed = 40, \
    .member = function                                                           \
  }

OCTET_KERNELS(x86_amx_bf16_scores) = {
    OCTET_SCORES(kScoreSoftmax, score_softmax, ScoreSoftmax),
    OCTET_SCORES(kScoreGrad, score_grad, ScoreGrad),
    OCTET_SCORES(kTurn, turn, Turn),
    {},
};

}  // namespace octet
