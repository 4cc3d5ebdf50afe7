// Block attention: each key's dot products sixteen dims at a time, weights eight keys at a time,
// values eight dims at a time. Pairs of query heads share the loads of keys and values.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx2/exp.h"

namespace octet {
namespace {

constexpr int kHeads = 2;

/// Lanes 0–7 and 8–15 of the canonical order.
struct Lanes {
  __m256 low, high;
};

float SumLanes(const Lanes& lanes) {
  const __m256 eight = _mm256_add_ps(lanes.low, lanes.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/// The lanes i with begin ≤ first + i < end, as a mask of sign bits.
__m256i InRange(int32_t first, int32_t begin, int32_t end) {
  const __m256i index =
      _mm256_add_epi32(_mm256_set1_epi32(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  return _mm256_and_si256(_mm256_cmpgt_epi32(index, _mm256_set1_epi32(begin - 1)),
                          _mm256_cmpgt_epi32(_mm256_set1_epi32(end), index));
}

/// lanes += a·b over eight dims from d; past head_dim a lane keeps its value.
__m256 MulAdd8(const float* a, const float* b, int32_t d, int32_t head_dim, __m256 lanes) {
  if (d + 8 <= head_dim)
    return _mm256_fmadd_ps(_mm256_loadu_ps(a + d), _mm256_loadu_ps(b + d), lanes);
  if (d >= head_dim) return lanes;
  const __m256i mask = InRange(d, 0, head_dim);
  const __m256 sum =
      _mm256_fmadd_ps(_mm256_maskload_ps(a + d, mask), _mm256_maskload_ps(b + d, mask), lanes);
  return _mm256_blendv_ps(lanes, sum, _mm256_castsi256_ps(mask));
}

template <int H>
void Scores(const AttendBlockArgs& args, int32_t h0, int32_t j, float (*score)[kKeyBlock]) {
  const auto* k = reinterpret_cast<const float*>(args.k + j * args.kv_row_bytes);
  Lanes lanes[H];
  for (int h = 0; h < H; ++h) lanes[h] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int32_t d = 0; d < args.head_dim; d += 16) {
    for (int h = 0; h < H; ++h) {
      const float* q = args.q + (h0 + h) * args.q_stride;
      lanes[h].low = MulAdd8(q, k, d, args.head_dim, lanes[h].low);
      lanes[h].high = MulAdd8(q, k, d + 8, args.head_dim, lanes[h].high);
    }
  }
  for (int h = 0; h < H; ++h) score[h][j] = SumLanes(lanes[h]);
}

/// Turns the head's scores into weights (0 outside the range), updates m and l, returns the decay.
float Weights(const AttendBlockArgs& args, int32_t h, float* score) {
  float m = args.m[h];
  for (int32_t j = args.begin; j < args.end; ++j) m = score[j] > m ? score[j] : m;
  const __m256 max = _mm256_set1_ps(m);
  __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int32_t j = 0; j < kKeyBlock; j += 8) {
    const __m256i in_range = InRange(j, args.begin, args.end);
    const __m256 s = _mm256_maskload_ps(score + j, in_range);
    const __m256 p =
        _mm256_and_ps(ExpNegative(_mm256_sub_ps(s, max)), _mm256_castsi256_ps(in_range));
    _mm256_storeu_ps(score + j, p);
    sum[j / 8 % 2] = _mm256_add_ps(sum[j / 8 % 2], p);
  }
  const float decay = _mm256_cvtss_f32(ExpNegative(_mm256_set1_ps(args.m[h] - m)));
  args.m[h] = m;
  args.l[h] = __builtin_fmaf(args.l[h], decay, SumLanes({sum[0], sum[1]}));
  return decay;
}

/// acc[h][d … d + 8·V) of H heads; the last vector takes only the lanes of `mask`.
template <int H, int V>
void Values(const AttendBlockArgs& args, int32_t h0, int32_t d, __m256i mask,
            const float (*weight)[kKeyBlock], const float* decay) {
  float* acc = args.acc + static_cast<int64_t>(h0) * args.head_dim + d;
  const __m256i all = _mm256_set1_epi32(-1);
  __m256 sum[H][V];
  for (int h = 0; h < H; ++h)
    for (int v = 0; v < V; ++v)
      sum[h][v] =
          _mm256_mul_ps(_mm256_maskload_ps(acc + h * static_cast<int64_t>(args.head_dim) + 8 * v,
                                           v == V - 1 ? mask : all),
                        _mm256_set1_ps(decay[h]));
  for (int32_t j = args.begin; j < args.end; ++j) {
    const auto* row = reinterpret_cast<const float*>(args.v + j * args.kv_row_bytes) + d;
    for (int v = 0; v < V; ++v) {
      const __m256 value = _mm256_maskload_ps(row + 8 * v, v == V - 1 ? mask : all);
      for (int h = 0; h < H; ++h)
        sum[h][v] = _mm256_fmadd_ps(_mm256_set1_ps(weight[h][j]), value, sum[h][v]);
    }
  }
  for (int h = 0; h < H; ++h)
    for (int v = 0; v < V; ++v)
      _mm256_maskstore_ps(acc + h * static_cast<int64_t>(args.head_dim) + 8 * v,
                          v == V - 1 ? mask : all, sum[h][v]);
}

template <int H>
void AttendHeads(const AttendBlockArgs& args, int32_t h0) {
  constexpr int kVectors = 4;  // 2 heads × 4 vectors of values: 8 accumulators
  alignas(32) float score[H][kKeyBlock];
  float decay[H];
  for (int32_t j = args.begin; j < args.end; ++j) Scores<H>(args, h0, j, score);
  for (int h = 0; h < H; ++h) decay[h] = Weights(args, h0 + h, score[h]);
  int32_t d = 0;
  for (; d + 8 * kVectors <= args.head_dim; d += 8 * kVectors) {
    Values<H, kVectors>(args, h0, d, _mm256_set1_epi32(-1), score, decay);
  }
  for (; d < args.head_dim; d += 8) {
    Values<H, 1>(args, h0, d, InRange(d, 0, args.head_dim), score, decay);
  }
}

void AttendBlock(const AttendBlockArgs& args) {
  if (args.begin >= args.end) return;
  int32_t h = 0;
  for (; h + kHeads <= args.heads; h += kHeads) AttendHeads<kHeads>(args, h);
  for (; h < args.heads; ++h) AttendHeads<1>(args, h);
}

}  // namespace

OCTET_KERNELS(x86_avx2_attend_block) = {
    {.name = "x86_avx2/attend_block",
     .op = KernelOp::kAttendBlock,
     .isa = kIsaAvx2,
     .speed = 10,
     .format = Format::kF32,
     .attend_block = AttendBlock},
    {},
};

}  // namespace octet
