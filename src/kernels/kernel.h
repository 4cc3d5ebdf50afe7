// The microkernel contract. A kernel is a single-threaded function over plain structs; its file's
// folder is its instruction set. This header is included by files compiled with special flags, so
// it holds plain structs only: no templates, no inline functions, no std containers.
//
// Adding a kernel is adding a file `src/kernels/<isa>/<name>.cc` that
//   1. includes this header, quant block headers and <immintrin.h>, nothing that emits weak
//   symbols;
//   2. keeps everything in an anonymous namespace;
//   3. ends with  OCTET_KERNELS(<isa>_<name>) = { {…descriptor…}, … , {} };  (an empty name ends
//   it)
// CMake finds it, compiles it with the folder's flags and writes the list that registry.cc reads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa_bits.h"
#include "quant/activation.h"
#include "quant/format.h"
#include "quant/integer_dot.h"
#include "quant/layout.h"
#include "quant/panel16.h"

namespace octet {

/// How products with weights are computed.
enum class Arithmetic : uint8_t {
  kFloat32,  // weights decoded to float, activations float, the canonical float order below
  kFast,     // the fastest kernel whose error is at most that of 8-bit activations
  kBf16,     // training's: weights and activations rounded to bf16, in TileProductArgs' products
};
constexpr int kArithmeticCount = 3;

enum class KernelOp : uint8_t {
  kMatmul,
  kAttendBlock,
  kAttendSpan,
  kQuantize,
  kRound,
  kSwiGlu,
  kNorm,
  kRope,
  kSum,
  kEncode,
  kSwiGluGrad,
  kSwiGluTiles,
  kSwiGluGradTiles,
  kTargetRow,
  kPackTiles,
  kTileProduct,
  kScoreSoftmax,
  kScoreGrad,
  kTurn,
  kAdamW,
  kDot,
  kRmsNormGrad,
  kRouterGrad,
  kRoundRows,
  kLogSum,
  kTargetTiles,
  kPeak,
};

/// What a matmul reads as x.
enum class Activations : uint8_t {
  kFloat,      // MatmulArgs::x
  kInt8,       // MatmulArgs::xq, and the product is the one of quant/integer_dot.h, bit for bit
  kInt8Per32,  // the same, for formats whose activations have a scale per 32 values
  kBf16,       // MatmulArgs::xb: rounded to 8 significant bits, products exact, sums float, in an
               // order that depends on neither tokens nor layout
};

/// y[t][r] = Σ_k x[t][k] · w[r][k] for t < tokens, r < rows. Overwrites y.
///
/// Canonical float order (Arithmetic::kFloat32), the same on every instruction set: sixteen lanes;
/// lane i starts at 0 and takes fma(x[k], w[k], lane) for k = i, i+16, i+32 … in order (k past the
/// end is skipped); then lanes are added as a tree: i += i+8, i += i+4, i += i+2, i += i+1.
/// So one token, many tokens, AVX2, AVX-512 and the reference give the same bits.
struct MatmulArgs {
  const std::byte* w;  // first row of this call, layout as the descriptor says
  int64_t w_row_bytes;
  int64_t rows, cols;
  const float* x;    // [tokens] rows of cols floats
  int64_t x_stride;  // in elements
  float* y;
  int64_t y_stride;
  int64_t tokens;
  DecodeFn decode;  // of the weight format; for kernels that decode through memory
  float* scratch;   // descriptor.scratch_floats floats, 64-byte aligned, this thread's alone
  // Instead of x where the activations are kInt8 or kInt8Per32: block b (256 columns) of token t is
  // xq[b * xq_tokens + t]. Block-major, so that the tokens of a block are dense in the cache and an
  // AMX tile of 16 of them never falls into one cache set.
  const ActivationBlock* xq;
  int64_t xq_tokens;
  // Where they are kBf16: block b of token t is xb[b * xq_tokens + t], and kRoundedPadding blocks
  // may be read behind the last (what they hold does not matter).
  const RoundedBlock* xb;
  // Repacks row-major blocks (quant/panel16.h); for kernels that take them so.
  PackStepFn pack;
  IntegerDotFn dot;  // of the weight format; for the reference
};

constexpr int64_t kRoundedPadding = 15;

/// One block of keys against the query heads that share a key/value head; online softmax
/// (Dao 2023, FlashAttention-2, alg. 1). For each head h < heads, over keys j in [begin, end):
///   s_j = q[h]·k[j]           in the canonical float order over head_dim
///   m' = max(m, s_j …);  c = Exp(m-m');  p_j = Exp(s_j-m')
///   l = fma(l, c, Σ p_j)      Σ: sixteen lanes, lane j % 16 adds j in order; then the same tree
///   acc_d = acc_d·c, then acc_d = fma(p_j, v[j][d], acc_d) for j in order
/// The caller starts m at -inf, l and acc at 0, scales q by 1/sqrt(head_dim) beforehand, and
/// divides acc by l at the end. Keys and values in F16, BF16 or Q8_0 count as their exact float
/// values. The result depends only on the arguments, never on other rows, and is the same on every
/// instruction set.
struct AttendBlockArgs {
  const float* q;  // [heads][q_stride], scaled
  int64_t q_stride;
  const std::byte* k;  // [n keys] rows of head_dim values in the descriptor's format
  const std::byte* v;
  int64_t kv_row_bytes;
  int32_t begin, end;  // keys of the block that this query may see, end ≤ 64
  int32_t heads, head_dim;
  float* m;    // [heads]
  float* l;    // [heads]
  float* acc;  // [heads][head_dim]
  // Keys and values that the next call will read, at the same rows: to be asked for meanwhile.
  const std::byte* next_k = nullptr;
  const std::byte* next_v = nullptr;
};
/// Keys are walked in blocks of this many absolute positions, whatever the page size or chunking.
constexpr int32_t kKeyBlock = 64;

/// Exp(x) for x ≤ 0, in these operations so that every instruction set gives the same bits: 0 below
/// kExpUnderflow; else t = fma(x, log2 e, shift), n = t - shift (the nearest integer), r = x - n·ln
/// 2 by two fmas, Horner over kExpPoly by fmas, times 2^n taken from the low bits of t. At most 1
/// ulp from the true value (tested); NaN gives NaN.
constexpr float kExpUnderflow = -87.0f;  // e^-87 is still normal, and below 1e-37 of the maximum
constexpr float kExpLog2E = 0x1.715476p+0f;
constexpr float kExpShift = 12582912.0f;  // 1.5·2^23: adding it rounds to an integer
constexpr float kExpLn2High = 0x1.62e4p-1f, kExpLn2Low = 0x1.7f7d1cp-20f;
constexpr int kExpTerms = 8;  // Taylor to r^7: its error at |r| = ln 2 / 2 is 0.04 ulp
constexpr float kExpPoly[kExpTerms] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24,
                                       1.0f / 6,    0.5f,       1.0f,       1.0f};

/// Attention of consecutive rows of a sequence over one span of its keys, for Arithmetic::kFast:
/// the same online softmax in bf16 products with float sums. For each row r and head h of the
/// group:
///   q' = bf16(q · (scale · log2 e));  keys and values count as their nearest bf16
///   in chunks of kSpanChunk absolute positions:
///     s_j = q'·k[j], m' = max(m, s_j …), c = 2^(m-m'), p_j = 2^(s_j-m'), both by Exp2 below
///     l = fma(l, c, Σ p_j)
///     acc = acc·c + Σ bf16(p_j)·v[j]
/// In which order sums are taken is the descriptor's SpanProducts; subnormal terms and sums of bf16
/// products are 0. A key that a row may not see has p_j = 0, so its value must be finite. Rows see
/// the same operations alone and together, whatever the pages.
///   Exp2(x): f = x - floor(x), rounded down, Horner over kExp2Poly by fmas, times 2^floor(x). With
///   kFloats f is rounded to nearest, and the result is 0 below kExp2Underflow.
struct AttendSpanArgs {
  const float* q;                 // row r, head h at q + r·q_stride + h·head_dim
  int64_t q_stride;               // in elements
  int32_t rows, group, head_dim;  // rows · group ≤ kSpanQueries; head_dim as SpanHeadDim says
  float scale;
  int64_t first_position;  // of row 0
  int64_t window;          // keys a row sees, itself included; 0: all
  // Position p's key is the row k_pages[p / page_tokens] + head_offset + p % page_tokens ·
  // row_bytes.
  const std::byte* const* k_pages;
  const std::byte* const* v_pages;
  int32_t page_tokens;
  int64_t head_offset, row_bytes;
  int64_t begin, end;  // keys of the span; begin is a multiple of kSpanChunk
  bool continues;  // this thread's last call ended where this one begins: its keys are on their way
  float* m;        // [rows · group], overwritten; the lowest float where no key was seen
  float* l;        // [rows · group], overwritten
  float* acc;      // [rows · group][head_dim], overwritten
  float* scratch;  // descriptor.scratch_floats, 64-byte aligned, this thread's alone
};
/// How keys and values are multiplied.
enum class SpanProducts : uint8_t {
  /// tdpbf16ps: 32 terms at a time (dims of a head, absolute key positions), even and odd ones each
  /// a chain of fmas from 0, their sum added to the accumulator. l: four sums, sum j % 4 adds j in
  /// order; (0 + 1) + (2 + 3).
  kTiles,
  /// vdpbf16ps: two neighbouring terms at a time, first the odd one's fma, then the even one's.
  /// Scores: four chains from 0, chain i takes the pairs of dims with pair % 4 = i in order;
  /// (0 + 2) + (1 + 3). Values: one chain of pairs of keys. l: sixteen lanes, lane j % 16 adds j in
  /// order; the canonical tree.
  kPairs,
  /// Float fmas of exact factors: nothing is rounded to bf16. Scores: eight chains from 0, chain i
  /// takes dims i, i + 8 … in order; ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)). Values: a chain of
  /// keys. l: as kPairs.
  kFloats,
  /// Codes of q8_0 (blocks b of 32 dims, scales not negative) times 16-bit integers. Sums of those
  /// are exact, and floats enter once a block.
  ///   Scores, with t = q · (scale · log2 e): n = the greatest Σ |t| of a block (lane i % 16 adds i
  ///   in order; the canonical tree), at least kSpanLeast; q' = round(t · (32767 / n));
  ///   s_j = (a chain of fmas from 0 over b: float(Σ q'·codes) · scale_jb) · (n / 32767).
  ///   Values, in parts of kSpanIntegerKeys absolute positions: w_jb = p_j · scale_jb; n = the
  ///   greatest of the part, at least kSpanLeast; w' = round(w · (32767 / n)), the exact product's;
  ///   acc = fma(float(Σ w'·codes), n / 32767, acc), part after part. l: as kPairs.
  kIntegers,
};
/// Spans that follow one another are merged in order, so that threads may share a long context:
/// m' = max(m, part.m); each side times 2^(m-m'), by Exp2; l and acc: fma(part, its factor, own·c).
struct MergeSpanArgs {
  float *m, *l, *acc;  // [queries], [queries], [queries][head_dim]
  const float *part_m, *part_l, *part_acc;
  int64_t queries, head_dim;
};
constexpr int32_t kSpanChunk = 256;        // keys between two looks at the maximum
constexpr int32_t kSpanIntegerKeys = 128;  // of SpanProducts::kIntegers: one step of weights
constexpr float kSpanLeast = 0x1p-100f;
constexpr int32_t kSpanKeys = 2048;    // keys of a span: between two merges
constexpr int32_t kSpanQueries = 256;  // rows · heads of a call
constexpr int32_t kSpanHeadDimStep = 64, kSpanHeadDimMax = 256;
constexpr int kExp2Terms = 5;  // relative error 3e-6 on [0, 1), and exactly 1 at 0
constexpr float kExp2Poly[kExp2Terms] = {0.013426701538f, 0.052242446691f, 0.241280212998f,
                                         0.693044841289f, 1.0f};
constexpr float kExp2Underflow = -126.0f;  // of SpanProducts::kFloats

/// gate[i] = gate[i] · sigmoid(gate[i]) · up[i], multiplied in this order, for i < n. With e =
/// Exp(-|gate|): sigmoid is 1 / (1 + e) from 0 up and e / (1 + e) below. The same bits everywhere.
struct SwiGluArgs {
  float* gate;
  const float* up;
  int64_t n;
};

/// RMS norm of a row, after adding to it where `delta` is given (then sum[k] = x[k] + delta[k] is
/// written, and x means that; sum may be x):
///   squares: sixteen lanes, lane k % 16 adds x[k]·x[k], rounded, in order of k; lanes are added in
///   order, as doubles;  r = float(1 / sqrt(squares / n + eps)), in double;  y[k] =
///   x[k]·r·weight[k]
/// No fused multiply-adds: the same bits on every instruction set. y may be x or delta.
struct NormArgs {
  const float* x;
  const float* delta;  // nullptr: none
  float* sum;          // nullptr without delta
  const float* weight;
  double eps;
  float* y;
  int64_t n;
};

/// Turns pairs (a, b) of each head by its angle: (a·cos - b·sin, a·sin + b·cos), every product and
/// sum rounded. Pair i of a head of 2·half values is at (2i, 2i + 1), or at (i, half + i).
struct RopeArgs {
  float* x;  // [heads][2 · half]
  const float* cos;
  const float* sin;  // [half] each
  int64_t heads, half;
  bool interleaved;
};

/// out[i] = weights[0]·rows[0][i] + weights[1]·rows[1][i] + …, with `adds` out[i] + those: in this
/// order, every product and sum rounded.
struct SumArgs {
  float* out;
  bool adds;
  const float* const* rows;  // [terms]
  const float* weights;      // [terms]
  int64_t terms;             // at least 1
  int64_t n;
};

/// The gradient of SwiGlu with the same e, and t = sigmoid: d_up = d_hidden · (gate · t),
/// d_gate = ((d_hidden · up) · t) · fma(gate, 1 - t, 1). Outputs may be d_hidden.
struct SwiGluGradArgs {
  const float *gate, *up, *d_hidden;
  float *d_gate, *d_up;
  int64_t n;
};

/// SwiGlu between two tile products: hidden = (gate · t) · up as operand "rows" (PackTilesArgs),
/// t = 1 / (1 + Exp2(-gate · log2 e)), zeros up to whole tiles. gate and up are kept in bf16.
struct SwiGluTilesArgs {
  const float *gate, *up;
  int64_t stride;
  int64_t rows, cols;
  uint16_t* hidden;
  int64_t panel_tiles;
  uint16_t *kept_gate, *kept_up;  // rows of kept_stride values
  int64_t kept_stride;
};

/// SwiGluGrad of the kept gate and up, for rows that count `weight` times: with h the hidden value
/// computed again, d_weight = Σ h · d_hidden (lane c % 16 takes an fma for c in order; the
/// canonical tree), and SwiGluGrad of weight · d_hidden. d_gate and d_up as operand "rows" whose
/// outputs are the rows, and turned, outputs being the columns; h · weight as "pairs", turned. What
/// is turned takes panels of all columns up to a multiple of 32, and goes past the caches.
struct SwiGluGradTilesArgs {
  const uint16_t *kept_gate, *kept_up;
  int64_t kept_stride;
  const float* d_hidden;
  int64_t stride;
  int64_t rows, cols;
  const float* weight;  // [rows]
  float* d_weight;      // [rows], written
  uint16_t *d_gate, *d_up;
  int64_t panel_tiles;
  uint16_t *d_gate_turned, *d_up_turned, *hidden_turned;
  int64_t turned_panel_tiles;
};

/// A row of logits and the log-probability of one of them, in place: best = the greatest of z;
/// e_i = Exp(z_i - best), summed in double by sixteen lanes (lane i % 16 adds i in order) and the
/// canonical tree. With d_log_prob, z becomes its gradient: e_i · float(-d / sum), plus d at the
/// target; without, z is lost. log_prob = (z[target] - best) - log(sum).
struct TargetRowArgs {
  float* z;
  int64_t n;
  int32_t target;
  const float* d_log_prob;  // one value, or nullptr
  double* sum;              // written: Σ e
  float* at_target;         // written: z[target] - best
};

/// The next n columns of rows of logits: with m' = max(m, z …), sum = sum · Exp(m - m') + float(Σ
/// Exp(z - m')), m = m'. Σ: sixteen lanes, lane i % 16 adds i in order, and the canonical tree. The
/// caller starts m at the lowest float and sum at 0.
struct LogSumArgs {
  const float* z;
  int64_t stride;  // in elements
  int64_t rows, n;
  float* m;     // [rows]
  double* sum;  // [rows]
};

/// n columns of rows of logits to their gradient, d_log_prob · ((column is the target) - Exp(z -
/// log_sum)), as operand "rows" (PackTilesArgs): outputs are the rows; and turned, outputs being
/// the columns. Both are filled up to multiples of 32 with zeros.
struct TargetTilesArgs {
  const float* z;
  int64_t stride;  // in elements
  int64_t rows, n;
  const float *log_sum, *d_log_prob;  // [rows]
  const int32_t* target;              // [rows] counted from these columns' first; may be beside
  uint16_t* tiles;
  int64_t panel_tiles;
  uint16_t* turned;  // or null
  int64_t turned_panel_tiles;
};

/// Operands of bf16 tile products. A tile is 1024 bytes, 16 outputs × 32 of the summed dimension
/// ("depth"), in one of two forms:
///   rows   [output][depth]            the product's left side
///   pairs  [depth / 2][output][2]     its right side
/// A panel is 16 outputs: its tiles one after another along the depth. What lies beyond the
/// matrix is 0. Values are rounded to nearest even; subnormals become 0.
/// Packs tiles of the matrix x [rows, cols]: `row_of` says where row r lies (null: at r). Outputs
/// are the rows and depth the columns, or the other way round when `turned`.
struct PackTilesArgs {
  const float* x;
  const uint16_t* rounded;  // instead of x: values that are bf16 already, taken as they are
  int64_t x_stride;         // in elements
  const int32_t* row_of;
  int64_t rows, cols;
  bool turned, pairs;
  bool streams;   // the tiles are read much later: they go past the caches
  uint16_t* out;  // tile t of panel p at out + (p · panel_tiles + t) · kTileValues
  int64_t panel_tiles;
};
constexpr int64_t kTileOutputs = 16, kTileDepth = 32, kTileValues = 512;

/// c[M, N] = a · bᵀ, or from + a · bᵀ. Every element is one chain over the depth: it starts at 0
/// (or at from), and takes its terms in the order of KernelDescriptor::tile_sums. So its bits
/// depend on nothing else; they differ between the orders as roundings of float sums do.
struct TileProductArgs {
  const uint16_t* a;  // ceil(rows / 16) panels of rows
  const uint16_t* b;  // ceil(cols / 16) panels of pairs
  int64_t a_panel_tiles, b_panel_tiles;
  int64_t depth_tiles;
  int64_t rows, cols;  // of c
  float* c;
  int64_t c_stride;
  const float* from;  // null, or sums so far: c itself or apart from it
  int64_t from_stride;
  bool streams;  // c is read much later: past the caches
  // Where not null: tiles of the depth from b_tiles on; panels as b's.
  const uint16_t* b_more;
  int64_t b_tiles;
};

/// How a tile product adds its terms. Subnormal sums are 0.
enum class TileSums : uint8_t {
  kTiles,  // 32 at a time, as tdpbf16ps: even and odd ones each a chain of fmas from 0, their sum
           // added
  kPairs,  // two at a time, as vdpbf16ps: an fma for the odd one, then one for the even one
};

/// One step of AdamW, each operation rounded by itself, in this order: g = grad · grad_scale;
/// m = beta1·m + (1-beta1)·g; v = beta2·v + ((1-beta2)·g)·g;
/// w = w·keep - (step·m) / (√v · root_scale + eps).
struct AdamWArgs {
  float* w;
  const float* grad;
  float *m, *v;
  int64_t n;
  float grad_scale, beta1, beta2, keep, step, root_scale, eps;
};

/// *sum = Σ a·b in double: sixteen lanes (lane i % 16 adds i in order) and the canonical tree.
struct DotArgs {
  const float *a, *b;
  int64_t n;
  double* sum;
};

/// One row of the gradient of RmsNorm. Sums as in DotArgs, of x·x and (d_y·w)·x, all in double:
/// r = 1 / √(Σ x² / n + eps), scale = float(r), pull = float(Σ d_y·w·x · r·r·r / n);
/// d_x += (scale·w)·d_y - pull·x; partial += d_y · (x·scale), unless it is null.
struct RmsNormGradArgs {
  const float *x, *w, *d_y;
  int64_t n;
  double eps;
  float *d_x, *partial;
};

/// Rows of the router's gradient in float, each element one chain of fmas: d_x[t] takes
/// d_logits[t][e] · w[e] in order of e, d_w[e] takes d_logits[t][e] · x[t] in order of t.
struct RouterGradArgs {
  const float* d_logits;  // [rows, experts]
  const float* w;         // [experts, n]
  const float* x;         // [rows] of x_stride
  int64_t x_stride;
  float* d_x;  // [rows] of d_x_stride, added to
  int64_t d_x_stride;
  float* d_w;  // [experts, n], added to; or null
  int64_t rows, experts, n;
};

/// Rows of floats to rows of bf16 (PackTilesArgs' rounding), past the caches.
struct RoundRowsArgs {
  const float* x;
  int64_t x_stride;  // in elements
  int64_t rows, cols;
  uint16_t* out;
  int64_t out_stride;
};

/// Scores of training's attention lie by key: s[j · stride + i] is that of key first_key + j and
/// query first_query + i (positions). A query sees the keys up to itself, `window` of them where
/// that is not 0.
struct ScoreBlock {
  int64_t keys, queries;
  int64_t first_key, first_query;
  int64_t window;
};
constexpr int64_t kScoreSide = 128;  // queries of a block, and keys where those are cut too

/// For every query of the block: m = the greatest score it sees, p_j = Exp2((s_j - m) · log2 e)
/// (0 where hidden), sum = Σ p_j in order. Packs p as pairs: outputs are the queries, the keys are
/// the depth, filled up with zeros.
struct ScoreSoftmaxArgs {
  ScoreBlock block;  // at most kScoreSide queries, each of which sees a key
  const float* s;
  int64_t stride;
  uint16_t* pairs;
  int64_t panel_tiles;
  float *m, *sum;  // [queries]
};

/// p = Exp2((s - log_sum) · log2 e), d_s = p · (d_p - delta), both 0 where hidden or outside.
/// Packs them with kScoreSide / 32 tiles a panel: p and d_s as rows (outputs are the keys, depth
/// the queries), d_s as pairs too (outputs are the queries, depth the keys).
struct ScoreGradArgs {
  ScoreBlock block;  // at most kScoreSide of each
  const float *s, *d_p;
  int64_t stride;
  const float *log_sum, *delta;  // [queries]
  uint16_t *p, *d_s, *d_s_pairs;
};

/// out[c · out_stride + r] = in[r · in_stride + c] · scale[c].
struct TurnArgs {
  const float* in;
  int64_t in_stride;
  int64_t rows, cols;
  const float* scale;
  float* out;
  int64_t out_stride;
};

/// One row of activations to int8 blocks, as quant/activation.h defines them, bit for bit.
struct QuantizeArgs {
  const float* x;
  int64_t cols;
  ActivationBlock* out;  // block b to out[b * out_stride]
  int64_t out_stride;
};

/// A kind of arithmetic at its fastest: what the speed of kernels is a share of. The loads of
/// kAmx…Loads come from the first-level cache, one a product, as 2 × 2 blocks of tiles need them.
enum class Peak : uint8_t {
  kFmaF32,
  kDotInt8,
  kAmxInt8,
  kAmxBf16,
  kAmxInt8Loads,
  kAmxBf16Loads,
  kDotBf16
};
constexpr int kPeakCount = 7;

/// Does nothing but `rounds` rounds of one instruction, KernelDescriptor::peak_ops operations each.
struct PeakArgs {
  int64_t rounds;
  std::byte* scratch;  // kPeakScratchBytes of zeros, 64-byte aligned, this thread's alone
};
constexpr int64_t kPeakScratchBytes = 32768;

/// One row of activations to bf16 blocks (quant/activation.h), zeros past cols.
struct RoundArgs {
  const float* x;
  int64_t cols;
  RoundedBlock* out;  // block b to out[b * out_stride]
  int64_t out_stride;
};

struct KernelDescriptor {
  const char* name;  // "x86_avx512/matmul_f32"; nullptr ends a file's list
  KernelOp op;
  uint32_t isa;   // IsaBits it needs, all of them
  int32_t speed;  // the registry takes the highest among those that fit
  // kMatmul:
  bool any_format;  // reads every format through MatmulArgs::decode
  Format format;    // else the one it reads; of keys and values for kAttend… and kEncode
  Layout layout;
  Arithmetic arithmetic;
  Activations activations;
  int32_t min_tokens;  // taken from this many tokens on (right for fewer too); 0 and 1: always
  int32_t scratch_floats;
  void (*matmul)(const MatmulArgs&);
  // kAttendBlock:
  void (*attend_block)(const AttendBlockArgs&);
  // kAttendSpan:
  void (*attend_span)(const AttendSpanArgs&);
  void (*merge_span)(const MergeSpanArgs&);
  SpanProducts span_products;
  // kQuantize:
  void (*quantize)(const QuantizeArgs&);
  void (*quantize32)(const QuantizeArgs&);  // with a scale per 32 values
  // kRound:
  void (*round)(const RoundArgs&);
  // kSwiGlu:
  void (*swiglu)(const SwiGluArgs&);
  // kNorm, kRope, kSum:
  void (*norm)(const NormArgs&);
  void (*rope)(const RopeArgs&);
  void (*sum)(const SumArgs&);
  // kEncode: what quant/format.h's encoder of `format` writes, bit for bit
  EncodeFn encode;
  // kSwiGluGrad … kTargetTiles:
  void (*swiglu_grad)(const SwiGluGradArgs&);
  void (*swiglu_tiles)(const SwiGluTilesArgs&);
  void (*swiglu_grad_tiles)(const SwiGluGradTilesArgs&);
  void (*target_row)(const TargetRowArgs&);
  void (*pack_tiles)(const PackTilesArgs&);
  void (*tile_product)(const TileProductArgs&);
  TileSums tile_sums;  // the reference has both
  void (*score_softmax)(const ScoreSoftmaxArgs&);
  void (*score_grad)(const ScoreGradArgs&);
  void (*turn)(const TurnArgs&);
  void (*adamw)(const AdamWArgs&);
  void (*dot)(const DotArgs&);
  void (*rms_norm_grad)(const RmsNormGradArgs&);
  void (*router_grad)(const RouterGradArgs&);
  void (*round_rows)(const RoundRowsArgs&);
  void (*log_sum)(const LogSumArgs&);
  void (*target_tiles)(const TargetTilesArgs&);
  // kPeak:
  Peak peak;
  int32_t peak_ops;  // a round; a multiplication and an addition count 2
  void (*run_peak)(const PeakArgs&);
};

}  // namespace octet

#define OCTET_KERNELS(id)                                      \
  extern const ::octet::KernelDescriptor octet_kernels_##id[]; \
  const ::octet::KernelDescriptor octet_kernels_##id[]
