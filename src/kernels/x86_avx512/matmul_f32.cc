// Float matmul in the canonical order: one zmm accumulator holds the sixteen lanes of one output.
// Blocks of 4 rows × 4 tokens keep 16 accumulators, 4 weights and 1 activation in 32 registers, and
// their sixteen trees are summed together.
#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

constexpr int kRows = 4, kTokens = 4;
constexpr int64_t kSegment = 256;    // values decoded at once; a multiple of every block size
constexpr int64_t kTokenChunk = 64;  // tokens that share a decoded segment
constexpr int64_t kPrefetch = 1024;  // bytes ahead in each row's stream

/// Loads of 16 consecutive weights at element k, whole or the lanes of `mask`. Unaligned is fine.
struct LoadF32 {
  static constexpr int64_t kBytes = 4;
  static __m512 Load(const std::byte* w) { return _mm512_loadu_ps(w); }
  static __m512 Load(const std::byte* w, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, w); }
};
struct LoadF16 {
  static constexpr int64_t kBytes = 2;
  static __m512 Load(const std::byte* w) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
  }
  static __m512 Load(const std::byte* w, __mmask16 mask) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, w));
  }
};
struct LoadBf16 {
  static constexpr int64_t kBytes = 2;
  static __m512 Widen(__m256i half) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
  static __m512 Load(const std::byte* w) {
    return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
  }
  static __m512 Load(const std::byte* w, __mmask16 mask) {
    return Widen(_mm256_maskz_loadu_epi16(mask, w));
  }
};

/// Adds the products of `n` values to the lanes acc; w and x are at the same k, a multiple of 16.
template <class Loader, int R, int N>
inline __attribute__((always_inline)) void AddTo(__m512 (&acc)[R][N], const std::byte* w,
                                                 int64_t w_row_bytes, const float* x,
                                                 int64_t x_stride, int64_t n) {
  int64_t k = 0;
  for (; k + 16 <= n; k += 16) {
    __m512 wv[R];
    for (int r = 0; r < R; ++r) {
      const std::byte* p = w + r * w_row_bytes + k * Loader::kBytes;
      if (N == 1) _mm_prefetch(reinterpret_cast<const char*>(p + kPrefetch), _MM_HINT_T0);
      wv[r] = Loader::Load(p);
    }
    for (int t = 0; t < N; ++t) {
      const __m512 xv = _mm512_loadu_ps(x + t * x_stride + k);
      for (int r = 0; r < R; ++r) acc[r][t] = _mm512_fmadd_ps(xv, wv[r], acc[r][t]);
    }
  }
  if (k < n) {
    const auto mask = static_cast<__mmask16>((1u << (n - k)) - 1);
    for (int t = 0; t < N; ++t) {
      const __m512 xv = _mm512_maskz_loadu_ps(mask, x + t * x_stride + k);
      for (int r = 0; r < R; ++r) {
        const __m512 wv = Loader::Load(w + r * w_row_bytes + k * Loader::kBytes, mask);
        acc[r][t] = _mm512_mask3_fmadd_ps(xv, wv, acc[r][t], mask);
      }
    }
  }
}

template <class Loader, int R, int N>
void AddProducts(const std::byte* w, int64_t w_row_bytes, const float* x, int64_t x_stride,
                 int64_t n, __m512* lanes, int64_t lanes_stride) {
  __m512 acc[R][N];
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < N; ++t) acc[r][t] = _mm512_loadu_ps(lanes + r * lanes_stride + t);
  AddTo<Loader, R, N>(acc, w, w_row_bytes, x, x_stride, n);
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < N; ++t) _mm512_storeu_ps(lanes + r * lanes_stride + t, acc[r][t]);
}

/// Canonical trees of sixteen registers of lanes at once, result i in lane i: every level halves
/// the registers, adding two halves of each.
__m512 SumSixteen(const __m512* x) {
  __m512 eights[8], fours[4], twos[2];  // of lanes that are left, of several outputs a register
  for (int i = 0; i < 8; ++i) {         // output 2i below, 2i + 1 above
    eights[i] = _mm512_add_ps(_mm512_shuffle_f32x4(x[2 * i], x[2 * i + 1], 0x44),
                              _mm512_shuffle_f32x4(x[2 * i], x[2 * i + 1], 0xee));
  }
  for (int i = 0; i < 4; ++i) {  // quarter q: output 4i + q
    fours[i] = _mm512_add_ps(_mm512_shuffle_f32x4(eights[2 * i], eights[2 * i + 1], 0x88),
                             _mm512_shuffle_f32x4(eights[2 * i], eights[2 * i + 1], 0xdd));
  }
  for (int i = 0; i < 2; ++i) {
    twos[i] = _mm512_add_ps(_mm512_shuffle_ps(fours[2 * i], fours[2 * i + 1], 0x44),
                            _mm512_shuffle_ps(fours[2 * i], fours[2 * i + 1], 0xee));
  }
  const __m512 sums = _mm512_add_ps(_mm512_shuffle_ps(twos[0], twos[1], 0x88),
                                    _mm512_shuffle_ps(twos[0], twos[1], 0xdd));
  // Quarter q has outputs q, 4 + q, 8 + q and 12 + q.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_ps(order, sums);
}

/// All tokens of the chunk against R rows, N tokens at a time.
template <class Loader, int R>
void AddTokens(const std::byte* w, int64_t w_row_bytes, const float* x, int64_t x_stride, int64_t n,
               int64_t tokens, __m512* lanes) {
  int64_t t = 0;
  for (; t + kTokens <= tokens; t += kTokens) {
    AddProducts<Loader, R, kTokens>(w, w_row_bytes, x + t * x_stride, x_stride, n, lanes + t,
                                    kTokenChunk);
  }
  for (; t < tokens; ++t) {
    AddProducts<Loader, R, 1>(w, w_row_bytes, x + t * x_stride, x_stride, n, lanes + t,
                              kTokenChunk);
  }
}

float SumLanes(__m512 lanes) {
  const __m256 eight =
      _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/// R rows of direct weights against a chunk of tokens.
template <class Loader, int R>
void DirectRows(const MatmulArgs& args, const std::byte* w, const float* x, int64_t tokens,
                __m512* lanes) {
  AddTokens<Loader, R>(w, args.w_row_bytes, x, args.x_stride, args.cols, tokens, lanes);
}

/// R rows of any format: a segment of each is decoded to scratch, then serves every token.
template <int R>
void DecodedRows(const MatmulArgs& args, const std::byte* w, const float* x, int64_t tokens,
                 __m512* lanes) {
  float* segment = args.scratch + kRows * kTokenChunk * 16;
  for (int64_t k = 0; k < args.cols; k += kSegment) {
    const int64_t n = args.cols - k < kSegment ? args.cols - k : kSegment;
    const int64_t offset = args.w_row_bytes * k / args.cols;
    for (int r = 0; r < R; ++r) {
      args.decode(w + r * args.w_row_bytes + offset, n, segment + r * kSegment);
    }
    AddTokens<LoadF32, R>(reinterpret_cast<const std::byte*>(segment), kSegment * 4, x + k,
                          args.x_stride, n, tokens, lanes);
  }
}

using RowsFn = void (*)(const MatmulArgs&, const std::byte* w, const float* x, int64_t tokens,
                        __m512* lanes);

void Matmul(const MatmulArgs& args, RowsFn four_rows, RowsFn one_row) {
  auto* lanes = reinterpret_cast<__m512*>(args.scratch);
  for (int64_t r = 0; r < args.rows;) {
    const int64_t rows = args.rows - r >= kRows ? kRows : 1;
    const std::byte* w = args.w + r * args.w_row_bytes;
    for (int64_t t = 0; t < args.tokens; t += kTokenChunk) {
      const int64_t tokens = args.tokens - t < kTokenChunk ? args.tokens - t : kTokenChunk;
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < tokens; ++j) lanes[i * kTokenChunk + j] = _mm512_setzero_ps();
      (rows == kRows ? four_rows : one_row)(args, w, args.x + t * args.x_stride, tokens, lanes);
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < tokens; ++j)
          args.y[(t + j) * args.y_stride + r + i] = SumLanes(lanes[i * kTokenChunk + j]);
    }
    r += rows;
  }
}

// Many tokens: kManyChunk of them over kManySegment columns are 32 KiB, which stay in the
// first-level cache while the rows stream past from the second; lanes wait in memory between
// segments only, so those of kManyRows rows are in the second level too.
constexpr int64_t kManyTokens = 8, kManyChunk = 16, kManySegment = 512, kManyRows = 64;

/// A segment of columns against R rows and N tokens: the first one begins at 0, the last one ends
/// in y.
struct Segment {
  const std::byte* w;
  int64_t w_row_bytes;
  const float* x;
  int64_t x_stride;
  int64_t n;
  bool first, last;
  __m512* lanes;  // row r, token t at r · kManyChunk + t
  float* y;
  int64_t y_stride;
};

template <class Loader, int R, int N>
void RunSegment(const Segment& s) {
  __m512 acc[R][N];
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < N; ++t)
      acc[r][t] = s.first ? _mm512_setzero_ps() : _mm512_load_ps(&s.lanes[r * kManyChunk + t]);
  }
  AddTo<Loader, R, N>(acc, s.w, s.w_row_bytes, s.x, s.x_stride, s.n);
  if (!s.last) {
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < N; ++t) _mm512_store_ps(&s.lanes[r * kManyChunk + t], acc[r][t]);
  } else if constexpr (R == 4 && N == 4) {
    __m512 by_token[16];
    for (int i = 0; i < 16; ++i) by_token[i] = acc[i % 4][i / 4];
    const __m512 sums = SumSixteen(by_token);
    _mm_storeu_ps(s.y, _mm512_castps512_ps128(sums));
    _mm_storeu_ps(s.y + s.y_stride, _mm512_extractf32x4_ps(sums, 1));
    _mm_storeu_ps(s.y + 2 * s.y_stride, _mm512_extractf32x4_ps(sums, 2));
    _mm_storeu_ps(s.y + 3 * s.y_stride, _mm512_extractf32x4_ps(sums, 3));
  } else {
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < N; ++t) s.y[t * s.y_stride + r] = SumLanes(acc[r][t]);
  }
}

/// R rows against a chunk of tokens.
template <class Loader, int R>
void RunChunk(Segment s, int64_t tokens) {
  const auto move = [&s](int64_t n) {
    s.x += n * s.x_stride;
    s.lanes += n;
    s.y += n * s.y_stride;
  };
  int64_t t = 0;
  for (; t + kTokens <= tokens; t += kTokens) {
    RunSegment<Loader, R, kTokens>(s);
    move(kTokens);
  }
  for (; t < tokens; ++t) {
    RunSegment<Loader, R, 1>(s);
    move(1);
  }
}

/// Rows [row, row + rows) and tokens [token, token + tokens) over all columns.
template <class Loader>
void RunRows(const MatmulArgs& args, int64_t row, int64_t rows, int64_t token, int64_t tokens) {
  auto* lanes = reinterpret_cast<__m512*>(args.scratch);
  for (int64_t k = 0; k == 0 || k < args.cols; k += kManySegment) {
    const int64_t left = args.cols - k;
    Segment s{args.w + row * args.w_row_bytes + k * Loader::kBytes,
              args.w_row_bytes,
              args.x + token * args.x_stride + k,
              args.x_stride,
              left < kManySegment ? left : kManySegment,
              k == 0,
              left <= kManySegment,
              lanes,
              args.y + token * args.y_stride + row,
              args.y_stride};
    for (int64_t r = 0; r < rows;) {
      const int64_t n = rows - r >= kRows ? kRows : 1;
      n == kRows ? RunChunk<Loader, kRows>(s, tokens) : RunChunk<Loader, 1>(s, tokens);
      s.w += n * args.w_row_bytes;
      s.lanes += n * kManyChunk;
      s.y += n;
      r += n;
    }
  }
}

int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

template <class Loader>
void MatmulDirect(const MatmulArgs& args) {
  if (args.tokens < kManyTokens)
    return Matmul(args, DirectRows<Loader, kRows>, DirectRows<Loader, 1>);
  for (int64_t r = 0; r < args.rows; r += kManyRows) {
    for (int64_t t = 0; t < args.tokens; t += kManyChunk)
      RunRows<Loader>(args, r, Least(args.rows - r, kManyRows), t,
                      Least(args.tokens - t, kManyChunk));
  }
}

void MatmulDecoded(const MatmulArgs& args) { Matmul(args, DecodedRows<kRows>, DecodedRows<1>); }

constexpr int32_t kLanesFloats = kRows * kTokenChunk * 16;
constexpr int32_t kDirectFloats = kManyRows * kManyChunk * 16;
static_assert(kDirectFloats >= kLanesFloats);

}  // namespace

OCTET_KERNELS(x86_avx512_matmul_f32) = {
    {.name = "x86_avx512/matmul_f32.f32",
     .op = KernelOp::kMatmul,
     .isa = kIsaAvx512,
     .speed = 21,
     .format = Format::kF32,
     .layout = Layout::kRowMajor,
     .arithmetic = Arithmetic::kFloat32,
     .scratch_floats = kDirectFloats,
     .matmul = MatmulDirect<LoadF32>},
    {.name = "x86_avx512/matmul_f32.f16",
     .op = KernelOp::kMatmul,
     .isa = kIsaAvx512,
     .speed = 21,
     .format = Format::kF16,
     .layout = Layout::kRowMajor,
     .arithmetic = Arithmetic::kFloat32,
     .scratch_floats = kDirectFloats,
     .matmul = MatmulDirect<LoadF16>},
    {.name = "x86_avx512/matmul_f32.bf16",
     .op = KernelOp::kMatmul,
     .isa = kIsaAvx512,
     .speed = 21,
     .format = Format::kBf16,
     .layout = Layout::kRowMajor,
     .arithmetic = Arithmetic::kFloat32,
     .scratch_floats = kDirectFloats,
     .matmul = MatmulDirect<LoadBf16>},
    {.name = "x86_avx512/matmul_f32.decoded",
     .op = KernelOp::kMatmul,
     .isa = kIsaAvx512,
     .speed = 20,
     .any_format = true,
     .layout = Layout::kRowMajor,
     .arithmetic = Arithmetic::kFloat32,
     .scratch_floats = kLanesFloats + kRows * static_cast<int32_t>(kSegment),
     .matmul = MatmulDecoded},
    {},
};

}  // namespace octet
