// Training's softmax of scores and its gradient: scores lie by key, so sixteen queries are a
// register and what a query needs is one too.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx512/exp2.h"
#include "kernels/x86_avx512/transpose.h"
#include "kernels/x86_avx512_bf16/interleave.h"

namespace octet {
namespace {

constexpr float kLowest = -3.402823466e+38f;
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

/// Keys of the block before `open` are seen by all 16 queries from i on, those from `end` by none.
struct KeyRange {
  int64_t open, end;
};
KeyRange RangeOf(const ScoreBlock& b, int64_t i) {
  const int64_t first = b.first_query + i - b.first_key;  // the first query's own key
  const bool whole = b.window == 0 && b.queries - i >= kLanes;
  const int64_t open = whole && first >= 0 ? first + 1 : 0, end = first + kLanes;
  return {open < b.keys ? open : b.keys, end < 0 ? 0 : end < b.keys ? end : b.keys};
}

__m512 Weight(__m512 score, __m512 shift) {
  return Exp2(_mm512_mul_ps(_mm512_sub_ps(score, shift), _mm512_set1_ps(kExpLog2E)));
}

__m512 Greatest(const ScoreSoftmaxArgs& args, int64_t i, const KeyRange& keys) {
  __m512 even = _mm512_set1_ps(kLowest), odd = even;
  const float* s = args.s + i;
  int64_t j = 0;
  for (; j + 2 <= keys.open; j += 2) {
    even = _mm512_max_ps(even, _mm512_loadu_ps(s + j * args.stride));
    odd = _mm512_max_ps(odd, _mm512_loadu_ps(s + (j + 1) * args.stride));
  }
  for (; j < keys.end; ++j) {
    const __mmask16 seen = Seeing(args.block, i, j);
    even = _mm512_mask_max_ps(even, seen, even, _mm512_maskz_loadu_ps(seen, s + j * args.stride));
  }
  return _mm512_max_ps(even, odd);
}

/// Sixteen queries from i on.
void SoftmaxStrip(const ScoreSoftmaxArgs& args, int64_t i) {
  const ScoreBlock& b = args.block;
  const KeyRange keys = RangeOf(b, i);
  const __m512 m = Greatest(args, i, keys);
  __m512 sum = _mm512_setzero_ps();
  uint16_t* out = args.pairs + i / kTileOutputs * args.panel_tiles * kTileValues;
  const int64_t end = (b.keys + kTileDepth - 1) / kTileDepth * kTileDepth;
  const float* s = args.s + i;
  int64_t j = 0;
  for (; j + 2 <= keys.open; j += 2, out += 32) {
    const __m512 low = Weight(_mm512_loadu_ps(s + j * args.stride), m);
    const __m512 high = Weight(_mm512_loadu_ps(s + (j + 1) * args.stride), m);
    sum = _mm512_add_ps(_mm512_add_ps(sum, low), high);
    _mm512_store_si512(out, Interleaved(low, high));
  }
  for (; j < keys.end; j += 2, out += 32) {
    const __mmask16 first = Seeing(b, i, j), second = Seeing(b, i, j + 1);
    const __m512 low = _mm512_maskz_loadu_ps(first, s + j * args.stride);
    const __m512 high = _mm512_maskz_loadu_ps(second, s + (j + 1) * args.stride);
    const __m512 p0 = _mm512_maskz_mov_ps(first, Weight(low, m));
    const __m512 p1 = _mm512_maskz_mov_ps(second, Weight(high, m));
    sum = _mm512_add_ps(_mm512_add_ps(sum, p0), p1);
    _mm512_store_si512(out, Interleaved(p0, p1));
  }
  for (; j < end; j += 2, out += 32) _mm512_store_si512(out, _mm512_setzero_si512());
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
/// kOpen: all sixteen queries see the key.
template <bool kOpen>
inline WeightAndGrad GradOf(const ScoreGradArgs& args, int64_t i, int64_t j, __m512 log_sum,
                            __m512 delta) {
  const __mmask16 mask = kOpen ? __mmask16{0xffff} : Seeing(args.block, i, j);
  const int64_t at = j * args.stride + i;
  const __m512 p =
      _mm512_maskz_mov_ps(mask, Weight(_mm512_maskz_loadu_ps(mask, args.s + at), log_sum));
  const __m512 d_p = _mm512_maskz_loadu_ps(mask, args.d_p + at);
  return {p, _mm512_maskz_mul_ps(mask, p, _mm512_sub_ps(d_p, delta))};
}

/// 32 queries of a strip, and what they need.
struct GradQueries {
  int64_t i;
  __m512 log_sum[2], delta[2];
};

/// Keys j and j + 1.
template <bool kOpen>
inline void GradKeys(const ScoreGradArgs& args, const GradQueries& q, int64_t j) {
  WeightAndGrad x[2][2];  // [key][half of the queries]
  for (int k = 0; k < 2; ++k) {
    for (int h = 0; h < 2; ++h)
      x[k][h] = GradOf<kOpen>(args, q.i + h * kLanes, j + k, q.log_sum[h], q.delta[h]);
    const int64_t key = j + k;
    const int64_t at =
        (key / kTileOutputs * kBlockTiles + q.i / kTileDepth) * kTileValues + key % 16 * 32;
    _mm512_store_si512(args.p + at, Rounded(x[k][0].p, x[k][1].p));
    _mm512_store_si512(args.d_s + at, Rounded(x[k][0].d_s, x[k][1].d_s));
  }
  for (int h = 0; h < 2; ++h) {
    const int64_t panel = q.i / kTileOutputs + h;
    _mm512_store_si512(
        args.d_s_pairs + (panel * kBlockTiles + j / kTileDepth) * kTileValues + j % 32 * 16,
        Interleaved(x[0][h].d_s, x[1][h].d_s));
  }
}

/// Keys j and j + 1, which none of the 32 queries from i on sees.
void GradUnseen(const ScoreGradArgs& args, int64_t i, int64_t j) {
  const __m512i zero = _mm512_setzero_si512();
  for (int64_t k = 0; k < 2; ++k) {
    const int64_t key = j + k, panel = i / kTileOutputs + k;
    const int64_t at =
        (key / kTileOutputs * kBlockTiles + i / kTileDepth) * kTileValues + key % 16 * 32;
    _mm512_store_si512(args.p + at, zero);
    _mm512_store_si512(args.d_s + at, zero);
    _mm512_store_si512(
        args.d_s_pairs + (panel * kBlockTiles + j / kTileDepth) * kTileValues + j % 32 * 16, zero);
  }
}

/// 32 queries from i on.
void GradStrip(const ScoreGradArgs& args, int64_t i) {
  const ScoreBlock& b = args.block;
  GradQueries q{i, {}, {}};
  for (int h = 0; h < 2; ++h) {
    const __mmask16 queries = FirstLanes(b.queries - i - h * kLanes);
    q.log_sum[h] = _mm512_maskz_loadu_ps(queries, args.log_sum + i + h * kLanes);
    q.delta[h] = _mm512_maskz_loadu_ps(queries, args.delta + i + h * kLanes);
  }
  const int64_t end = (b.keys + kTileDepth - 1) / kTileDepth * kTileDepth;
  const int64_t open = b.queries - i >= 2 * kLanes ? RangeOf(b, i).open : 0;
  int64_t j = 0;
  for (; j + 2 <= open; j += 2) GradKeys<true>(args, q, j);
  for (const int64_t seen = RangeOf(b, i + kLanes).end; j < seen; j += 2)
    GradKeys<false>(args, q, j);
  for (; j < end; j += 2) GradUnseen(args, i, j);
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

#define OCTET_SCORES(op_id, member, function)                                                      \
  {                                                                                                \
    .name = "x86_avx512_bf16/" #member, .op = KernelOp::op_id, .isa = kIsaAvx512 | kIsaAvx512Bf16, \
    .speed = 35, .member = function                                                                \
  }

OCTET_KERNELS(x86_avx512_bf16_scores) = {
    OCTET_SCORES(kScoreSoftmax, score_softmax, ScoreSoftmax),
    OCTET_SCORES(kScoreGrad, score_grad, ScoreGrad),
    OCTET_SCORES(kTurn, turn, Turn),
    {},
};

}  // namespace octet
