// Float matmul in the canonical order: two ymm accumulators hold the sixteen lanes of one output.
// Blocks of 2 rows × 2 tokens keep 8 accumulators, 4 weights and 2 activations in 16 registers.
#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

constexpr int kRows = 2, kTokens = 2;
constexpr int64_t kSegment = 256;    // values decoded at once; a multiple of every block size
constexpr int64_t kTokenChunk = 64;  // tokens that share a decoded segment
constexpr int64_t kPrefetch = 1024;  // bytes ahead in each row's stream

/// The sixteen lanes of one output: 0–7 and 8–15.
struct Lanes {
  __m256 low, high;
};
Lanes Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }

/// Loads of 8 consecutive weights. Unaligned is fine.
struct LoadF32 {
  static constexpr int64_t kBytes = 4;
  static __m256 Load(const std::byte* w) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(w));
  }
};
struct LoadF16 {
  static constexpr int64_t kBytes = 2;
  static __m256 Load(const std::byte* w) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
  }
};
struct LoadBf16 {
  static constexpr int64_t kBytes = 2;
  static __m256 Load(const std::byte* w) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
};

template <class Loader>
Lanes LoadLanes(const std::byte* w) {
  return {Loader::Load(w), Loader::Load(w + 8 * Loader::kBytes)};
}
Lanes LoadX(const float* x) { return {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }

Lanes MulAdd(const Lanes& x, const Lanes& w, const Lanes& acc) {
  return {_mm256_fmadd_ps(x.low, w.low, acc.low), _mm256_fmadd_ps(x.high, w.high, acc.high)};
}

/// The last 1 to 15 products: lanes past the end keep their value (adding 0·0 could turn -0 to 0).
template <class Loader>
Lanes MulAddTail(const float* x, const std::byte* w, int64_t n, const Lanes& acc) {
  alignas(32) std::byte w_copy[16 * 4] = {};
  alignas(32) float x_copy[16] = {};
  __builtin_memcpy(w_copy, w, static_cast<size_t>(n * Loader::kBytes));
  __builtin_memcpy(x_copy, x, static_cast<size_t>(n) * sizeof(float));
  const Lanes sum = MulAdd(LoadX(x_copy), LoadLanes<Loader>(w_copy), acc);
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const auto below = [&](int64_t end) {
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(end)), index));
  };
  return {_mm256_blendv_ps(acc.low, sum.low, below(n)),
          _mm256_blendv_ps(acc.high, sum.high, below(n - 8))};
}

/// Adds the products of `n` values to lanes[R][N]; w and x are at the same k, a multiple of 16.
template <class Loader, int R, int N>
void AddProducts(const std::byte* w, int64_t w_row_bytes, const float* x, int64_t x_stride,
                 int64_t n, Lanes* lanes, int64_t lanes_stride) {
  Lanes acc[R][N];
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < N; ++t) acc[r][t] = lanes[r * lanes_stride + t];
  int64_t k = 0;
  for (; k + 16 <= n; k += 16) {
    Lanes wv[R];
    for (int r = 0; r < R; ++r) {
      const std::byte* p = w + r * w_row_bytes + k * Loader::kBytes;
      if (N == 1) _mm_prefetch(reinterpret_cast<const char*>(p + kPrefetch), _MM_HINT_T0);
      wv[r] = LoadLanes<Loader>(p);
    }
    for (int t = 0; t < N; ++t) {
      const Lanes xv = LoadX(x + t * x_stride + k);
      for (int r = 0; r < R; ++r) acc[r][t] = MulAdd(xv, wv[r], acc[r][t]);
    }
  }
  if (k < n) {
    for (int t = 0; t < N; ++t)
      for (int r = 0; r < R; ++r)
        acc[r][t] = MulAddTail<Loader>(x + t * x_stride + k,
                                       w + r * w_row_bytes + k * Loader::kBytes, n - k, acc[r][t]);
  }
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < N; ++t) lanes[r * lanes_stride + t] = acc[r][t];
}

/// All tokens of the chunk against R rows, N tokens at a time.
template <class Loader, int R>
void AddTokens(const std::byte* w, int64_t w_row_bytes, const float* x, int64_t x_stride, int64_t n,
               int64_t tokens, Lanes* lanes) {
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

float SumLanes(const Lanes& lanes) {
  const __m256 eight = _mm256_add_ps(lanes.low, lanes.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/// R rows of direct weights against a chunk of tokens.
template <class Loader, int R>
void DirectRows(const MatmulArgs& args, const std::byte* w, const float* x, int64_t tokens,
                Lanes* lanes) {
  AddTokens<Loader, R>(w, args.w_row_bytes, x, args.x_stride, args.cols, tokens, lanes);
}

/// R rows of any format: a segment of each is decoded to scratch, then serves every token.
template <int R>
void DecodedRows(const MatmulArgs& args, const std::byte* w, const float* x, int64_t tokens,
                 Lanes* lanes) {
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
                        Lanes* lanes);

void Matmul(const MatmulArgs& args, RowsFn four_rows, RowsFn one_row) {
  auto* lanes = reinterpret_cast<Lanes*>(args.scratch);
  for (int64_t r = 0; r < args.rows;) {
    const int64_t rows = args.rows - r >= kRows ? kRows : 1;
    const std::byte* w = args.w + r * args.w_row_bytes;
    for (int64_t t = 0; t < args.tokens; t += kTokenChunk) {
      const int64_t tokens = args.tokens - t < kTokenChunk ? args.tokens - t : kTokenChunk;
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < tokens; ++j) lanes[i * kTokenChunk + j] = Zero();
      (rows == kRows ? four_rows : one_row)(args, w, args.x + t * args.x_stride, tokens, lanes);
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < tokens; ++j)
          args.y[(t + j) * args.y_stride + r + i] = SumLanes(lanes[i * kTokenChunk + j]);
    }
    r += rows;
  }
}

void MatmulF32(const MatmulArgs& args) {
  Matmul(args, DirectRows<LoadF32, kRows>, DirectRows<LoadF32, 1>);
}
void MatmulF16(const MatmulArgs& args) {
  Matmul(args, DirectRows<LoadF16, kRows>, DirectRows<LoadF16, 1>);
}
void MatmulBf16(const MatmulArgs& args) {
  Matmul(args, DirectRows<LoadBf16, kRows>, DirectRows<LoadBf16, 1>);
}
void MatmulDecoded(const MatmulArgs& args) { Matmul(args, DecodedRows<kRows>, DecodedRows<1>); }

constexpr int32_t kLanesFloats = kRows * kTokenChunk * 16;

}  // namespace

OCTET_KERNELS(x86_avx2_matmul_f32) = {
    {.name = "x86_avx2/matmul_f32.f32",
     .op = KernelOp::kMatmul,
     .isa = kIsaAvx2,
     .speed = 11,
     .format = Format::kF32,
     .layout = Layout::kRowMajor,
     .arithmetic = Arithmetic::kFloat32,
     .scratch_floats = kLanesFloats,
     .matmul = MatmulF32},
    {.name = "x86_avx2/matmul_f32.f16",
     .op = KernelOp::kMatmul,
     .isa = kIsaAvx2,
     .speed = 11,
     .format = Format::kF16,
     .layout = Layout::kRowMajor,
     .arithmetic = Arithmetic::kFloat32,
     .scratch_floats = kLanesFloats,
     .matmul = MatmulF16},
    {.name = "x86_avx2/matmul_f32.bf16",
     .op = KernelOp::kMatmul,
     .isa = kIsaAvx2,
     .speed = 11,
     .format = Format::kBf16,
     .layout = Layout::kRowMajor,
     .arithmetic = Arithmetic::kFloat32,
     .scratch_floats = kLanesFloats,
     .matmul = MatmulBf16},
    {.name = "x86_avx2/matmul_f32.decoded",
     .op = KernelOp::kMatmul,
     .isa = kIsaAvx2,
     .speed = 10,
     .any_format = true,
     .layout = Layout::kRowMajor,
     .arithmetic = Arithmetic::kFloat32,
     .scratch_floats = kLanesFloats + kRows * static_cast<int32_t>(kSegment),
     .matmul = MatmulDecoded},
    {},
};

}  // namespace octet
