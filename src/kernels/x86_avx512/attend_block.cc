// Block attention: keys' dot products sixteen dims at a time, sixteen of them summed up together,
// weights sixteen keys at a time, values sixteen dims at a time. The query heads of a group share
// every load of a key or value.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx512/exp.h"
#include "kernels/x86_avx512/sum_lanes.h"

namespace octet {
namespace {

/// Sixteen values of a key or value row from dimension d (a multiple of 16) on.
struct LoadF32 {
  static __m512 Load(const std::byte* row, int32_t d, __mmask16 mask) {
    return _mm512_maskz_loadu_ps(mask, reinterpret_cast<const float*>(row) + d);
  }
};
struct LoadF16 {
  static __m512 Load(const std::byte* row, int32_t d, __mmask16 mask) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row + 2 * static_cast<int64_t>(d)));
  }
};
struct LoadBf16 {
  static __m512 Load(const std::byte* row, int32_t d, __mmask16 mask) {
    const __m256i half = _mm256_maskz_loadu_epi16(mask, row + 2 * static_cast<int64_t>(d));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
};
struct LoadQ8 {
  static __m512 Load(const std::byte* row, int32_t d, __mmask16 mask) {
    constexpr int64_t kBlock = 34;  // binary16 scale, 32 int8
    const std::byte* block = row + d / 32 * kBlock;
    uint16_t scale;
    __builtin_memcpy(&scale, block, sizeof scale);
    const __m128i codes = _mm_maskz_loadu_epi8(mask, block + 2 + d % 32);
    return _mm512_mul_ps(_mm512_set1_ps(_cvtsh_ss(scale)),
                         _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)));
  }
};

constexpr int kAheadRows = 8;  // keys and values asked for before they are needed

/// Asks for a whole row of those that the next call reads, or else of this one's, as the hardware's
/// prefetcher starts anew in every page of keys.
void PrefetchRow(const std::byte* rows, const std::byte* next, int64_t j, int64_t bytes) {
  const std::byte* row = next != nullptr ? next + j * bytes : rows + (j + kAheadRows) * bytes;
  for (int64_t i = 0; i < bytes; i += 64)
    _mm_prefetch(reinterpret_cast<const char*>(row + i), _MM_HINT_T0);
}

constexpr int kSums = 16;                   // products of a head and a key at once: accumulators
constexpr int kScores = kKeyBlock + kSums;  // of a head's keys, and those that end a group of them
constexpr int kValueVectors = 4;  // vectors of 16 dims at once in the values: 16 accumulators

/// The sums of the lanes of sixteen vectors, each by the tree of the contract: lane i is that of
/// lanes[i].
__m512 SumEach(const __m512* lanes) {
  __m512 quarter[4];
  for (int i = 0; i < 4; ++i) {
    const auto halves = [&](const __m512& a, const __m512& b) {
      return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    };
    const __m512 low = halves(lanes[i], lanes[i + 4]), high = halves(lanes[i + 8], lanes[i + 12]);
    quarter[i] =
        _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
  }
  const auto pairs = [](const __m512& a, const __m512& b) {
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
  };
  const __m512 low = pairs(quarter[0], quarter[1]), high = pairs(quarter[2], quarter[3]);
  return _mm512_add_ps(_mm512_shuffle_ps(low, high, 0x88), _mm512_shuffle_ps(low, high, 0xdd));
}

/// score[h][j] for H heads and 16 / H keys from key j0 on; those from args.end on are not defined.
template <class Loader, int H>
void Scores(const AttendBlockArgs& args, int32_t h0, int32_t j0, float (*score)[kScores]) {
  constexpr int J = kSums / H;
  const float* q = args.q + h0 * args.q_stride;
  const std::byte* k[J];
  for (int j = 0; j < J; ++j) {
    k[j] = args.k + (j0 + j < args.end ? j0 + j : args.end - 1) * args.kv_row_bytes;
    PrefetchRow(args.k, args.next_k, j0 + j, args.kv_row_bytes);
  }
  __m512 lanes[kSums];
  for (__m512& sum : lanes) sum = _mm512_setzero_ps();
  int32_t d = 0;
  for (; d + 16 <= args.head_dim; d += 16) {
    __m512 qv[H];
    for (int h = 0; h < H; ++h) qv[h] = _mm512_loadu_ps(q + h * args.q_stride + d);
    for (int j = 0; j < J; ++j) {
      const __m512 kv = Loader::Load(k[j], d, 0xffff);
      for (int h = 0; h < H; ++h) lanes[h * J + j] = _mm512_fmadd_ps(qv[h], kv, lanes[h * J + j]);
    }
  }
  if (d < args.head_dim) {
    const auto mask = static_cast<__mmask16>((1u << (args.head_dim - d)) - 1);
    __m512 qv[H];
    for (int h = 0; h < H; ++h) qv[h] = _mm512_maskz_loadu_ps(mask, q + h * args.q_stride + d);
    for (int j = 0; j < J; ++j) {
      const __m512 kv = Loader::Load(k[j], d, mask);
      for (int h = 0; h < H; ++h) {
        lanes[h * J + j] = _mm512_mask3_fmadd_ps(qv[h], kv, lanes[h * J + j], mask);
      }
    }
  }
  const __m512 sums = SumEach(lanes);
  alignas(64) float all[kSums];
  if (H == 1) {
    _mm512_storeu_ps(score[0] + j0, sums);
    return;
  }
  _mm512_store_ps(all, sums);
  for (int h = 0; h < H; ++h) {
    if (H == 2) _mm256_storeu_ps(score[h] + j0, _mm256_load_ps(all + h * J));
    if (H == 4) _mm_storeu_ps(score[h] + j0, _mm_load_ps(all + h * J));
  }
}

/// Turns the head's scores into weights, updates m and l, returns the decay.
float Weights(const AttendBlockArgs& args, int32_t h, float* score) {
  const auto in_range = [&](int32_t j) {
    const __m512i index =
        _mm512_add_epi32(_mm512_set1_epi32(j),
                         _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    return static_cast<__mmask16>(_mm512_cmpge_epi32_mask(index, _mm512_set1_epi32(args.begin)) &
                                  _mm512_cmplt_epi32_mask(index, _mm512_set1_epi32(args.end)));
  };
  const int32_t first = args.begin / 16 * 16;
  __m512 most = _mm512_set1_ps(args.m[h]);
  for (int32_t j = first; j < args.end; j += 16) {
    const __m512 s = _mm512_maskz_loadu_ps(in_range(j), score + j);
    most = _mm512_mask_max_ps(most, in_range(j), s, most);  // the old one where s is NaN
  }
  const float m = _mm512_reduce_max_ps(most);
  const __m512 max = _mm512_set1_ps(m);
  __m512 sum = _mm512_setzero_ps();
  for (int32_t j = first; j < args.end; j += 16) {
    const __m512 s = _mm512_maskz_loadu_ps(in_range(j), score + j);
    const __m512 p = _mm512_maskz_mov_ps(in_range(j), ExpNegative(_mm512_sub_ps(s, max)));
    _mm512_storeu_ps(score + j, p);
    sum = _mm512_add_ps(sum, p);
  }
  const float decay = _mm512_cvtss_f32(ExpNegative(_mm512_set1_ps(args.m[h] - m)));
  args.m[h] = m;
  args.l[h] = __builtin_fmaf(args.l[h], decay, SumLanes(sum));
  return decay;
}

/// acc[h][d … d + 16·V) of H heads; the last vector takes only the lanes of `mask`.
template <class Loader, int H, int V>
void Values(const AttendBlockArgs& args, int32_t h0, int32_t d, __mmask16 mask,
            const float (*weight)[kScores], const float* decay) {
  float* acc = args.acc + static_cast<int64_t>(h0) * args.head_dim + d;
  const auto lanes = [&](int v) { return v == V - 1 ? mask : static_cast<__mmask16>(0xffff); };
  __m512 sum[H][V];
  for (int h = 0; h < H; ++h)
    for (int v = 0; v < V; ++v)
      sum[h][v] = _mm512_mul_ps(
          _mm512_maskz_loadu_ps(lanes(v), acc + h * static_cast<int64_t>(args.head_dim) + 16 * v),
          _mm512_set1_ps(decay[h]));
  for (int32_t j = args.begin; j < args.end; ++j) {
    const std::byte* row = args.v + j * args.kv_row_bytes;
    if (d == 0) PrefetchRow(args.v, args.next_v, j, args.kv_row_bytes);
    __m512 value[V];
    for (int v = 0; v < V; ++v) value[v] = Loader::Load(row, d + 16 * v, lanes(v));
    for (int h = 0; h < H; ++h) {
      const __m512 p = _mm512_set1_ps(weight[h][j]);
      for (int v = 0; v < V; ++v) sum[h][v] = _mm512_fmadd_ps(p, value[v], sum[h][v]);
    }
  }
  for (int h = 0; h < H; ++h)
    for (int v = 0; v < V; ++v)
      _mm512_mask_storeu_ps(acc + h * static_cast<int64_t>(args.head_dim) + 16 * v, lanes(v),
                            sum[h][v]);
}

template <class Loader, int H>
void AttendHeads(const AttendBlockArgs& args, int32_t h0) {
  alignas(64) float score[H][kScores];
  float decay[H];
  for (int32_t j = args.begin; j < args.end; j += kSums / H) Scores<Loader, H>(args, h0, j, score);
  for (int h = 0; h < H; ++h) decay[h] = Weights(args, h0 + h, score[h]);
  int32_t d = 0;
  for (; d + 16 * kValueVectors <= args.head_dim; d += 16 * kValueVectors) {
    Values<Loader, H, kValueVectors>(args, h0, d, 0xffff, score, decay);
  }
  for (; d + 32 <= args.head_dim; d += 32) Values<Loader, H, 2>(args, h0, d, 0xffff, score, decay);
  for (; d < args.head_dim; d += 16) {
    const int32_t left = args.head_dim - d;
    const auto mask = static_cast<__mmask16>(left >= 16 ? 0xffff : (1u << left) - 1);
    Values<Loader, H, 1>(args, h0, d, mask, score, decay);
  }
}

template <class Loader>
void AttendBlock(const AttendBlockArgs& args) {
  if (args.begin >= args.end) return;
  int32_t h = 0;
  for (; h + 4 <= args.heads; h += 4) AttendHeads<Loader, 4>(args, h);
  for (; h + 2 <= args.heads; h += 2) AttendHeads<Loader, 2>(args, h);
  for (; h < args.heads; ++h) AttendHeads<Loader, 1>(args, h);
}

}  // namespace

OCTET_KERNELS(x86_avx512_attend_block) = {
    {.name = "x86_avx512/attend_block.f32",
     .op = KernelOp::kAttendBlock,
     .isa = kIsaAvx512,
     .speed = 20,
     .format = Format::kF32,
     .attend_block = AttendBlock<LoadF32>},
    {.name = "x86_avx512/attend_block.f16",
     .op = KernelOp::kAttendBlock,
     .isa = kIsaAvx512,
     .speed = 20,
     .format = Format::kF16,
     .attend_block = AttendBlock<LoadF16>},
    {.name = "x86_avx512/attend_block.bf16",
     .op = KernelOp::kAttendBlock,
     .isa = kIsaAvx512,
     .speed = 20,
     .format = Format::kBf16,
     .attend_block = AttendBlock<LoadBf16>},
    {.name = "x86_avx512/attend_block.q8_0",
     .op = KernelOp::kAttendBlock,
     .isa = kIsaAvx512,
     .speed = 20,
     .format = Format::kQ8_0,
     .attend_block = AttendBlock<LoadQ8>},
    {},
};

}  // namespace octet
