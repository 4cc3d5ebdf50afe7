// Linear maps and attention under Arithmetic::kBf16: the same bits from every kernel and number of
// threads, and as near to float arithmetic as the rounding of operands lets them be.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"
#include "ops/attention_grad.h"
#include "ops/expert_ffn_grad.h"
#include "ops/linear_grad.h"
#include "ops/softmax_xent.h"
#include "ops/tiles.h"

namespace octet {
namespace {

using Floats = std::vector<float>;

// The greatest relative error of a rounding to bf16.
constexpr double kRounding = 0x1p-9;

Floats Random(int64_t n, uint64_t stream) {
  Floats x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(RandomNormal(23, stream, i));
  return x;
}

View<float, 2> Matrix(Floats& x, int64_t cols) {
  return MakeView(x.data(), static_cast<int64_t>(x.size()) / cols, cols);
}

struct Variant {
  const char* name;
  int threads;
  uint32_t isa;
  Arithmetic arithmetic;
};

/// The kernels of `isa`, whose products add up in the order of this machine's fastest: it is the
/// reference's choice alone that could be another.
KernelTable Kernels(uint32_t isa) {
  KernelTable table = SelectKernels(isa);
  const TileSums sums = SelectKernels(DetectIsa()).tile_product->tile_sums;
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op == KernelOp::kTileProduct && kernel->isa == 0 && kernel->tile_sums == sums &&
        table.tile_product->tile_sums != sums)
      table.tile_product = kernel;
  }
  return table;
}

/// A context and what it refers to.
struct Runner {
  explicit Runner(const Variant& setup)
      : pool(setup.threads),
        kernels(Kernels(setup.isa)),
        context{pool, kernels, arena, setup.arithmetic} {}
  ThreadPool pool;
  KernelTable kernels;
  Arena arena;
  Context context;
};

double RelativeError(const Floats& got, const Floats& want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += std::pow(static_cast<double>(got[i]) - want[i], 2);
    norm += std::pow(static_cast<double>(want[i]), 2);
  }
  return std::sqrt(difference / norm);
}

/// Runs `op` in float, in bf16, and in bf16 with one thread and with the reference's kernels. Its
/// outputs must be one vector each; `roundings` of operands lie between inputs and outputs.
template <class Op>
void Check(Op op, double roundings) {
  const uint32_t isa = DetectIsa();
  const std::vector<Floats> exact = op(Variant{"float", 2, isa, Arithmetic::kFloat32});
  const std::vector<Floats> bf16 = op(Variant{"bf16", 2, isa, Arithmetic::kBf16});
  ASSERT_EQ(exact.size(), bf16.size());
  for (size_t i = 0; i < exact.size(); ++i) {
    // Random errors add up as their squares.
    EXPECT_LT(RelativeError(bf16[i], exact[i]), kRounding * std::sqrt(roundings)) << "output " << i;
    EXPECT_GT(RelativeError(bf16[i], exact[i]), kRounding / 8) << "float arithmetic? output " << i;
  }
  for (const Variant& other : {Variant{"one thread", 1, isa, Arithmetic::kBf16},
                               Variant{"reference", 2, 0, Arithmetic::kBf16}})
    EXPECT_TRUE(op(other) == bf16) << other.name;
}

TEST(TileOps, LinearAndItsGradients) {
  const int64_t tokens = 270, rows = 131, cols = 90;
  Floats x = Random(tokens * cols, 1), w = Random(rows * cols, 2), d_y = Random(tokens * rows, 3);
  const WeightMatrix matrix{"w",  Format::kF32, Layout::kRowMajor,
                            rows, cols,         reinterpret_cast<const std::byte*>(w.data())};
  Check(
      [&](const Variant& setup) {
        Runner runner(setup);
        Floats y(d_y.size()), d_x = Random(tokens * cols, 4), d_w = Random(rows * cols, 5);
        Linear(matrix, Matrix(x, cols), Matrix(y, rows), runner.context);
        const LinearGradInputTask input{&matrix, Matrix(d_y, rows), Matrix(d_x, cols), true};
        LinearGradInput({&input, 1}, runner.context);
        const LinearGradWeightTask weight{Matrix(x, cols), Matrix(d_y, rows), Matrix(d_w, cols)};
        LinearGradWeight({&weight, 1}, runner.context);
        return std::vector<Floats>{y, d_x, d_w};
      },
      2);
}

TEST(TileOps, AMatrixsOwnTilesGiveTheSameBits) {
  const int64_t tokens = 40, rows = 50, cols = 70;
  Floats x = Random(tokens * cols, 1), w = Random(rows * cols, 2);
  WeightMatrix matrix{"w",  Format::kF32, Layout::kRowMajor,
                      rows, cols,         reinterpret_cast<const std::byte*>(w.data())};
  Runner runner({"bf16", 2, DetectIsa(), Arithmetic::kBf16});
  Floats packed_now(tokens * rows), packed_before(tokens * rows);
  Linear(matrix, Matrix(x, cols), Matrix(packed_now, rows), runner.context);
  const WeightTiles tiles{WeightOperand(matrix, false, runner.context).tiles,
                          WeightOperand(matrix, true, runner.context).tiles};
  matrix.tiles = &tiles;
  Linear(matrix, Matrix(x, cols), Matrix(packed_before, rows), runner.context);
  EXPECT_EQ(packed_now, packed_before);
}

TEST(TileOps, TargetLogProbsAndTheirGradients) {
  const int64_t rows = 70, d = 60, vocab = 150;
  Floats x = Random(rows * d, 6), w = Random(vocab * d, 7), d_log_prob = Random(rows, 8);
  for (float& value : w) value *= 0.3f;  // logits of deviation 2
  std::vector<int32_t> target;
  for (int64_t r = 0; r < rows; ++r) target.push_back(static_cast<int32_t>(r * 37 % vocab));
  const WeightMatrix head{"head",
                          Format::kF32,
                          Layout::kRowMajor,
                          vocab,
                          d,
                          reinterpret_cast<const std::byte*>(w.data())};
  Check(
      [&](const Variant& setup) {
        Runner runner(setup);
        Floats log_prob(rows), d_x(rows * d), d_head(vocab * d);
        TargetLogProbsGrad({Matrix(x, d), &head, target},
                           {d_log_prob, Matrix(d_x, d), Matrix(d_head, d)}, log_prob,
                           runner.context);
        return std::vector<Floats>{log_prob, d_x, d_head};
      },
      // Logits, whose error of √2 · 2 · kRounding each probability takes over, d_logits, operands.
      12);
}

struct AttentionCase {
  std::vector<int64_t> lengths;
  AttentionShape shape;
};

/// Forward and backward over whole sequences, keys and values in one page each.
std::vector<Floats> RunAttention(const AttentionCase& c, const Variant& setup) {
  Runner runner(setup);
  int64_t rows = 0;
  for (const int64_t n : c.lengths) rows += n;
  const int64_t d = c.shape.head_dim, q_dim = c.shape.n_heads * d, kv_dim = c.shape.n_kv_heads * d;
  Floats q = Random(rows * q_dim, 9), k = Random(rows * kv_dim, 10), v = Random(rows * kv_dim, 11);
  Floats out(q.size()), d_out = Random(rows * q_dim, 12), log_sum(rows * c.shape.n_heads);
  std::vector<AttentionSegment> segments;
  std::vector<std::vector<float>> memory;
  std::vector<std::byte*> pages;
  for (const int64_t n : c.lengths) {
    const int64_t page = (n + 63) / 64 * 64;
    for (int i = 0; i < 2; ++i) memory.emplace_back(page * kv_dim);
  }
  for (auto& page : memory) pages.push_back(reinterpret_cast<std::byte*>(page.data()));
  int64_t first = 0;
  for (size_t s = 0; s < c.lengths.size(); ++s) {
    const int64_t n = c.lengths[s];
    segments.push_back({first, n, 0,
                        KvView{{&pages[2 * s], 1},
                               {&pages[2 * s + 1], 1},
                               static_cast<int32_t>((n + 63) / 64 * 64),
                               static_cast<int32_t>(c.shape.n_kv_heads),
                               static_cast<int32_t>(d),
                               Format::kF32}});
    first += n;
  }
  AppendKv(Matrix(k, kv_dim), Matrix(v, kv_dim), segments, runner.context);
  Attention(Matrix(q, q_dim), c.shape, segments, Matrix(out, q_dim), runner.context,
            Matrix(log_sum, c.shape.n_heads));
  Floats d_q(q.size()), d_k(k.size()), d_v(v.size());
  AttentionGrad({Matrix(q, q_dim), Matrix(k, kv_dim), Matrix(v, kv_dim), Matrix(out, q_dim),
                 Matrix(log_sum, c.shape.n_heads), Matrix(d_out, q_dim), Matrix(d_q, q_dim),
                 Matrix(d_k, kv_dim), Matrix(d_v, kv_dim)},
                c.shape, segments, runner.context);
  return {out, d_q, d_k, d_v};
}

TEST(TileOps, AttentionAndItsGradient) {
  for (const AttentionCase& c :
       {AttentionCase{{300, 1, 64}, {4, 2, 32, 0}}, AttentionCase{{290, 130}, {2, 1, 48, 70}},
        AttentionCase{{129}, {3, 3, 20, 0}}}) {
    SCOPED_TRACE(::testing::Message() << "head_dim " << c.shape.head_dim);
    // Scores of deviation 1 are off by √2 kRounding, and so is every probability; then both
    // operands of one more product are rounded, and d_scores before.
    Check([&](const Variant& setup) { return RunAttention(c, setup); }, 12);
  }
}

struct Ffn {
  int64_t d, ff, n_experts;
  std::vector<Floats> w = {};  // w1, w3, w2 of each expert
  std::vector<Expert> experts = {};

  Ffn(int64_t d_model, int64_t d_ff, int64_t n) : d(d_model), ff(d_ff), n_experts(n) {
    for (int64_t i = 0; i < 3 * n; ++i) {
      w.push_back(Random(d * ff, 20 + i));
      // Outputs of deviation 1.
      for (float& value : w.back()) value /= std::sqrt(static_cast<float>(i % 3 == 2 ? ff : d));
    }
    for (int64_t e = 0; e < n; ++e) {
      const auto matrix = [&](int64_t i, int64_t rows, int64_t cols) {
        const auto* data = reinterpret_cast<const std::byte*>(w[3 * e + i].data());
        return WeightMatrix{"w", Format::kF32, Layout::kRowMajor, rows, cols, data};
      };
      experts.push_back({matrix(0, ff, d), matrix(1, ff, d), matrix(2, d, ff)});
    }
  }
};

TEST(TileOps, ExpertFfnAndItsGradient) {
  // Expert 1 has no rows, expert 0 more than two blocks and than a piece's depth, the hidden layer
  // is more than a stretch; neither width is one of whole tiles.
  const int64_t tokens = 600, d = 40, ff = 168, k = 2;
  const Ffn ffn(d, ff, 4);
  std::vector<int32_t> chosen;
  for (int64_t t = 0; t < tokens; ++t) {
    chosen.push_back(0);
    chosen.push_back(t % 3 == 0 ? 3 : 2);
  }
  Floats x = Random(tokens * d, 15), d_out = Random(tokens * d, 16), weight(tokens * k);
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = i % 2 == 0 ? 0.7f : 0.3f;
  Check(
      [&](const Variant& variant) {
        Runner runner(variant);
        Arena& arena = runner.arena;
        const ExpertPlan plan =
            MakeExpertPlan(MakeView(static_cast<const int32_t*>(chosen.data()), tokens, k),
                           Matrix(weight, k), ffn.n_experts, arena);
        ExpertActs acts = AllocateExpertActs(tokens * k, d, ff, arena);
        acts.gate = arena.Matrix<float>(tokens * k, ff);
        acts.kept_gate = arena.Matrix<uint16_t>(tokens * k, ff);
        acts.kept_up = arena.Matrix<uint16_t>(tokens * k, ff);
        Floats out(tokens * d), d_x(tokens * d), d_weights(tokens * k);
        ExpertFfn(Matrix(x, d), ffn.experts, plan, acts, Matrix(out, d), runner.context);
        std::vector<Floats> d_w(3 * ffn.n_experts, Floats(d * ff));
        std::vector<ExpertGrads> grads;
        for (int64_t e = 0; e < ffn.n_experts; ++e) {
          grads.push_back({Matrix(d_w[3 * e], d),
                           Matrix(d_w[3 * e + 1], d),
                           Matrix(d_w[3 * e + 2], ff),
                           {},
                           {},
                           {}});
        }
        ExpertFfnGrad({ffn.experts, acts, Matrix(d_out, d), Matrix(d_x, d), grads, Matrix(x, d)},
                      plan, Matrix(d_weights, k), runner.context);
        std::vector<Floats> results = {out, d_x, d_weights};
        for (int64_t e : {0, 2, 3}) results.insert(results.end(), &d_w[3 * e], &d_w[3 * e] + 3);
        return results;
      },
      // gate, up (rounded again when kept), hidden and the operands of three products.
      12);
}

}  // namespace
}  // namespace octet
