// Every gradient against finite differences of its op.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"
#include "ops/attention_grad.h"
#include "ops/embed.h"
#include "ops/embed_grad.h"
#include "ops/expert_ffn_grad.h"
#include "ops/linear.h"
#include "ops/linear_grad.h"
#include "ops/rms_norm.h"
#include "ops/rms_norm_grad.h"
#include "ops/rope_grad.h"
#include "ops/route.h"
#include "ops/route_grad.h"
#include "ops/router_loss.h"
#include "ops/softmax_xent.h"
#include "ops/swiglu.h"
#include "ops/swiglu_grad.h"

namespace octet {
namespace {

using Floats = std::vector<float>;

constexpr double kEpsilon = 0x1p-24;  // relative error of one rounding

class Grad : public ::testing::Test {
 protected:
  /// The loss of the tests is Σ c_i y_i with fixed c: `value`, and the sum of |c_i y_i| over the
  /// outputs, which bounds the rounding of y.
  struct Loss {
    double value = 0;
    double magnitude = 0;
    void Add(const Floats& c, const Floats& y) {
      for (size_t i = 0; i < y.size(); ++i) {
        value += static_cast<double>(c[i]) * y[i];
        magnitude += std::abs(static_cast<double>(c[i]) * y[i]);
      }
    }
  };

  Floats Random(int64_t n, uint64_t stream, double scale = 1) const {
    Floats x(static_cast<size_t>(n));
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<float>(scale * RandomNormal(5, stream, i));
    return x;
  }

  /// f(x + δ) - f(x - δ) = 2 g·δ + O(δ³) along a direction that is half random, half the
  /// gradient's. What is allowed beyond: twice the cubic term, measured by the third difference;
  /// the rounding of f, `roundings` of kEpsilon each relative to the terms (the longest chain of
  /// operations that a y_i goes through); and that of the gradient itself.
  void ExpectGradient(Floats& x, const Floats& gradient, double step, double roundings,
                      const std::function<Loss()>& f) const {
    ASSERT_EQ(x.size(), gradient.size());
    const Floats start = x;
    double rms = 0;
    for (const float g : gradient) rms += static_cast<double>(g) * g;
    rms = std::sqrt(rms / static_cast<double>(gradient.size()));
    for (uint64_t direction = 0; direction < 2; ++direction) {
      SCOPED_TRACE(::testing::Message() << "direction " << direction);
      Floats u = Random(static_cast<int64_t>(x.size()), 100 + direction, step);
      for (size_t i = 0; i < u.size(); ++i) u[i] += static_cast<float>(step * gradient[i] / rms);
      double predicted = 0, terms = 0;  // with the steps as floats hold them
      auto at = [&](float times) {
        for (size_t i = 0; i < x.size(); ++i) {
          x[i] = start[i] + times * u[i];
          if (std::abs(times) == 1.0f)
            predicted +=
                times * static_cast<double>(gradient[i]) * (static_cast<double>(x[i]) - start[i]);
        }
        return f();
      };
      const Loss p1 = at(1), m1 = at(-1), p2 = at(2), m2 = at(-2);
      const double noise = roundings * kEpsilon * (2 * (p1.magnitude + m1.magnitude) + terms);
      const double cubic = std::abs(p2.value - 2 * p1.value + 2 * m1.value - m2.value) / 6;
      const double difference = p1.value - m1.value;
      EXPECT_NEAR(difference, predicted, 2 * cubic + noise);
      // The check would see a gradient that is wrong by a few percent.
      EXPECT_LT(2 * cubic + noise, 0.05 * std::abs(predicted));
      x = start;
    }
  }

  template <class T>
  static View<T, 2> Matrix(std::vector<T>& x, int64_t cols) {
    return MakeView(x.data(), static_cast<int64_t>(x.size()) / cols, cols);
  }
  static WeightMatrix Weights(const Floats& w, int64_t cols) {
    return {"w",
            Format::kF32,
            Layout::kRowMajor,
            static_cast<int64_t>(w.size()) / cols,
            cols,
            reinterpret_cast<const std::byte*>(w.data())};
  }

  /// Runs `fn` with another number of threads in context_ of the given one.
  Context With(ThreadPool& pool) { return {pool, kernels_, arena_, Arithmetic::kFloat32}; }

  ThreadPool pool_{2}, one_{1};
  KernelTable kernels_ = SelectKernels(DetectIsa());
  Arena arena_;
  Context context_{pool_, kernels_, arena_, Arithmetic::kFloat32};
};

TEST_F(Grad, LinearInputAndWeight) {
  // Shapes with more rows than a tile, and tails of every kind.
  const int64_t tokens = 270, rows = 131, cols = 37;
  Floats x = Random(tokens * cols, 1), w = Random(rows * cols, 2), y(tokens * rows);
  Floats c = Random(tokens * rows, 3);
  auto f = [&] {
    Linear(Weights(w, cols), Matrix(x, cols), Matrix(y, rows), context_);
    Loss loss;
    loss.Add(c, y);
    return loss;
  };
  const WeightMatrix matrix = Weights(w, cols);
  Floats d_x(x.size()), d_w(w.size(), 0.0f);
  const LinearGradInputTask input{&matrix, Matrix(c, rows), Matrix(d_x, cols)};
  LinearGradInput({&input, 1}, context_);
  const LinearGradWeightTask weight{Matrix(x, cols), Matrix(c, rows), Matrix(d_w, cols)};
  LinearGradWeight({&weight, 1}, context_);
  ExpectGradient(x, d_x, 0.1, 2, f);
  ExpectGradient(w, d_w, 0.1, 2, f);

  Floats d_x1(x.size()), d_w1(w.size(), 0.0f);
  Context one = With(one_);
  const LinearGradInputTask input1{&matrix, Matrix(c, rows), Matrix(d_x1, cols)};
  LinearGradInput({&input1, 1}, one);
  const LinearGradWeightTask weight1{Matrix(x, cols), Matrix(c, rows), Matrix(d_w1, cols)};
  LinearGradWeight({&weight1, 1}, one);
  EXPECT_EQ(d_x, d_x1);
  EXPECT_EQ(d_w, d_w1);

  // Adding: the second time doubles.
  LinearGradWeight({&weight, 1}, context_);
  for (size_t i = 0; i < d_w.size(); ++i) ASSERT_EQ(d_w[i], 2 * d_w1[i]);
}

TEST_F(Grad, LinearInputThroughQuantisedWeightsUsesTheirDecodedValues) {
  const int64_t tokens = 5, rows = 20, cols = 64;
  const Floats values = Random(rows * cols, 1);
  const FormatInfo& info = Info(Format::kQ8_0);
  std::vector<std::byte> blocks(static_cast<size_t>(rows * FormatBytes(Format::kQ8_0, cols)));
  for (int64_t r = 0; r < rows; ++r)
    info.encode(values.data() + r * cols, cols, blocks.data() + r * FormatBytes(info.format, cols));
  Floats decoded(values.size());
  for (int64_t r = 0; r < rows; ++r)
    info.decode(blocks.data() + r * FormatBytes(info.format, cols), cols, &decoded[r * cols]);
  Floats d_y = Random(tokens * rows, 2), d_x(tokens * cols), d_x_float(tokens * cols);
  const WeightMatrix quantised{"w", info.format, Layout::kRowMajor, rows, cols, blocks.data()};
  const WeightMatrix floats = Weights(decoded, cols);
  const LinearGradInputTask a{&quantised, Matrix(d_y, rows), Matrix(d_x, cols)};
  const LinearGradInputTask b{&floats, Matrix(d_y, rows), Matrix(d_x_float, cols)};
  LinearGradInput({&a, 1}, context_);
  LinearGradInput({&b, 1}, context_);
  EXPECT_EQ(d_x, d_x_float);
}

TEST_F(Grad, RmsNorm) {
  const int64_t rows = 67, d = 40;
  Floats x = Random(rows * d, 1, 0.1), w = Random(d, 2), y(rows * d), c = Random(rows * d, 3);
  const double eps = 1e-3;  // large enough to matter beside mean(x²) = 0.01
  auto f = [&] {
    RmsNorm(Matrix(x, d), MakeView(w.data(), d), eps, Matrix(y, d), context_);
    Loss loss;
    loss.Add(c, y);
    return loss;
  };
  auto run = [&](Context& context, Floats& d_x, Floats& d_w) {
    RmsNormGrad({Matrix(x, d), MakeView(w.data(), d), eps, Matrix(c, d), Matrix(d_x, d),
                 MakeView(d_w.data(), d)},
                context);
  };
  Floats d_x(x.size(), 0.0f), d_w(d, 0.0f), d_x1 = d_x, d_w1 = d_w;
  run(context_, d_x, d_w);
  ExpectGradient(x, d_x, 0.003, 4, f);
  ExpectGradient(w, d_w, 0.1, 4, f);
  Context one = With(one_);
  run(one, d_x1, d_w1);
  EXPECT_EQ(d_x, d_x1);
  EXPECT_EQ(d_w, d_w1);
}

TEST_F(Grad, RopeTurnsBack) {
  const int64_t d = 16, heads = 3;
  const int32_t positions[] = {0, 1, 77, 5000};
  for (const RopePairing pairing : {RopePairing::kInterleaved, RopePairing::kHalves}) {
    const RopeTable table = MakeRopeTable(positions, d, 1e4, 1.0, context_);
    Floats x = Random(4 * heads * d, 1), c = Random(4 * heads * d, 2), d_x = c;
    RopeGrad(Matrix(d_x, heads * d), table, pairing, context_);
    ExpectGradient(x, d_x, 0.1, 3, [&] {
      Floats y = x;
      Rope(Matrix(y, heads * d), table, pairing, context_);
      Loss loss;
      loss.Add(c, y);
      return loss;
    });
  }
}

TEST_F(Grad, EmbedAddsRowsOfEqualTokens) {
  const int64_t d = 70;
  const std::vector<int32_t> tokens = {3, 1, 3, 0, 3};
  Floats table = Random(5 * d, 1), c = Random(5 * d, 2), d_table(5 * d, 0.0f), y(5 * d);
  EmbedGrad(tokens, Matrix(c, d), Matrix(d_table, d), context_);
  ExpectGradient(table, d_table, 0.1, 1, [&] {
    Embed(Weights(table, d), tokens, Matrix(y, d), context_);
    Loss loss;
    loss.Add(c, y);
    return loss;
  });
}

TEST_F(Grad, SwiGlu) {
  const int64_t rows = 9, d = 33;
  Floats gate = Random(rows * d, 1, 2), up = Random(rows * d, 2), c = Random(rows * d, 3);
  Floats d_gate(gate.size()), d_up(up.size());
  SwiGluGrad({Matrix(gate, d), Matrix(up, d), Matrix(c, d), Matrix(d_gate, d), Matrix(d_up, d)},
             context_);
  auto f = [&] {
    Floats y = gate;
    SwiGlu(Matrix(y, d), Matrix(up, d), context_);
    Loss loss;
    loss.Add(c, y);
    return loss;
  };
  ExpectGradient(gate, d_gate, 0.02, 5, f);
  ExpectGradient(up, d_up, 0.1, 5, f);
}

TEST_F(Grad, SwiGluOfExtremeGatesIsFinite) {
  Floats gate = {-1e4f, -90, 90, 1e4f}, up = {1, 1, 1, 1}, d = {1, 1, 1, 1}, d_up(4);
  SwiGluGrad({Matrix(gate, 4), Matrix(up, 4), Matrix(d, 4), Matrix(d, 4), Matrix(d_up, 4)},
             context_);
  EXPECT_EQ(d, (Floats{0, 0, 1, 1}));
  EXPECT_EQ(d_up[3], 1e4f);
}

TEST_F(Grad, RouteThroughTheChosenOnly) {
  const int64_t rows = 50, n = 8, k = 3;
  // Gaps of at least 0.3 between the logits of a row, beyond what any step closes.
  Floats logits(rows * n), c = Random(rows * k, 2), weights(rows * k);
  for (int64_t i = 0; i < rows * n; ++i)
    logits[i] = static_cast<float>(0.4 * ((i / n * 3 + i % n * 5) % n) +
                                   0.1 * RandomUniform(1, 1, static_cast<uint64_t>(i)));
  std::vector<int32_t> chosen(static_cast<size_t>(rows * k)), first;
  auto f = [&] {
    Route(Matrix(logits, n), {}, Matrix(chosen, k), Matrix(weights, k), context_);
    if (first.empty()) first = chosen;
    EXPECT_EQ(chosen, first);
    Loss loss;
    loss.Add(c, weights);
    return loss;
  };
  f();
  Floats d_logits(logits.size(), 0.0f);
  RouteGrad({Matrix(chosen, k), Matrix(weights, k), Matrix(c, k), Matrix(d_logits, n)}, context_);
  ExpectGradient(logits, d_logits, 0.01, 5, f);
}

TEST_F(Grad, RouterLossesPooledAndPerLayer) {
  const int64_t rows = 33, n = 6, k = 2, layers = 3;
  std::vector<Floats> logits;
  std::vector<std::vector<int32_t>> chosen(layers, std::vector<int32_t>(rows * k));
  Floats weights(rows * k);
  for (int64_t l = 0; l < layers; ++l) {
    logits.push_back(Random(rows * n, 10 + l, 1.5));
    Route(Matrix(logits[l], n), {}, Matrix(chosen[l], k), Matrix(weights, k), context_);
  }
  for (const bool pooled : {true, false}) {
    const RouterLossOptions options{.balance = 1, .z = 0.25, .pooled = pooled};
    auto measure = [&] {
      std::vector<RoutedLayer> routed;
      for (int64_t l = 0; l < layers; ++l)
        routed.push_back({Matrix(logits[l], n), Matrix(chosen[l], k)});
      return MeasureRouters(routed, context_);
    };
    const RouterStatistics statistics = measure();
    for (int64_t l = 0; l < layers; ++l) {
      Floats d_logits(logits[l].size(), 0.0f);
      RouterLossGrad({statistics, options, 1, l, Matrix(logits[l], n), Matrix(d_logits, n)},
                     context_);
      // The loss is computed in double, so that only the gradient is rounded (twice).
      ExpectGradient(logits[l], d_logits, 0.01, 2, [&] {
        const RouterStatistics now = measure();
        const double value = BalanceLoss(now, pooled) + 0.25 * ZLoss(now);
        return Loss{value, 0};
      });
    }
  }
}

TEST_F(Grad, BalanceLossOfAnEvenRouterIsTopK) {
  const int64_t rows = 8, n = 4;
  Floats logits(rows * n, 0.0f);
  std::vector<int32_t> chosen;
  for (int32_t t = 0; t < rows; ++t) {
    chosen.push_back(t % 4);
    chosen.push_back((t + 1) % 4);
  }
  const RoutedLayer layer{Matrix(logits, n), Matrix(chosen, 2)};
  EXPECT_DOUBLE_EQ(BalanceLoss(MeasureRouters({&layer, 1}, context_), true), 2.0);
}

TEST_F(Grad, TargetLogProbsInSeveralChunks) {
  // 70000 ids: chunks of 32 rows, so that 40 rows are two of them.
  const int64_t rows = 40, d = 3, vocab = 70000;
  Floats x = Random(rows * d, 1), head = Random(vocab * d, 2, 0.5), c = Random(rows, 3);
  std::vector<int32_t> target(rows);
  for (int64_t r = 0; r < rows; ++r)
    target[r] = static_cast<int32_t>(RandomBits(1, 2, r) % static_cast<uint64_t>(vocab));
  const WeightMatrix matrix = Weights(head, d);
  Floats log_prob(rows), again(rows), d_x(x.size()), d_head(head.size(), 0.0f);
  auto f = [&] {
    TargetLogProbs({Matrix(x, d), &matrix, target}, log_prob, context_);
    Loss loss;
    loss.Add(c, log_prob);
    return loss;
  };
  f();
  TargetLogProbsGrad({Matrix(x, d), &matrix, target}, {c, Matrix(d_x, d), Matrix(d_head, d)}, again,
                     context_);
  EXPECT_EQ(log_prob, again);
  ExpectGradient(x, d_x, 0.01, 4, f);
  ExpectGradient(head, d_head, 0.01, 4, f);

  Context one = With(one_);
  Floats d_x1(x.size()), d_head1(head.size(), 0.0f);
  TargetLogProbsGrad({Matrix(x, d), &matrix, target}, {c, Matrix(d_x1, d), Matrix(d_head1, d)},
                     again, one);
  EXPECT_EQ(d_x, d_x1);
  EXPECT_EQ(d_head, d_head1);
}

/// Several sequences packed into one batch, keys and values of each in one page.
class AttentionBatch {
 public:
  AttentionBatch(const AttentionShape& shape, std::vector<int64_t> lengths)
      : shape(shape), lengths_(std::move(lengths)) {
    for (const int64_t n : lengths_) rows += n;
    const int64_t kv_dim = shape.n_kv_heads * shape.head_dim;
    int64_t first = 0;
    k_pages_.resize(lengths_.size());
    v_pages_.resize(lengths_.size());
    for (size_t s = 0; s < lengths_.size(); ++s) {
      const int64_t page = (lengths_[s] + 63) / 64 * 64;
      pages_.emplace_back(static_cast<size_t>(2 * page * kv_dim));
      k_pages_[s] = reinterpret_cast<std::byte*>(pages_[s].data());
      v_pages_[s] = reinterpret_cast<std::byte*>(pages_[s].data() + page * kv_dim);
      const KvView kv{{&k_pages_[s], 1},
                      {&v_pages_[s], 1},
                      static_cast<int32_t>(page),
                      static_cast<int32_t>(shape.n_kv_heads),
                      static_cast<int32_t>(shape.head_dim),
                      Format::kF32};
      segments.push_back({first, lengths_[s], 0, kv});
      first += lengths_[s];
    }
  }
  AttentionShape shape;
  int64_t rows = 0;
  std::vector<AttentionSegment> segments;

 private:
  std::vector<int64_t> lengths_;
  std::vector<Floats> pages_;
  std::vector<std::byte*> k_pages_, v_pages_;
};

TEST_F(Grad, AttentionOfPackedSequences) {
  // Lengths around the tile of 64; windows inside a tile and across tiles; groups of 1 and 3.
  struct Case {
    int64_t heads, kv_heads, window;
  };
  for (const Case& heads_of : {Case{3, 1, 0}, Case{2, 2, 0}, Case{6, 2, 10}, Case{2, 1, 70}}) {
    // Not a structured binding: clang 14 cannot capture those.
    const int64_t heads = heads_of.heads, kv_heads = heads_of.kv_heads, window = heads_of.window;
    SCOPED_TRACE(::testing::Message() << heads << " heads, window " << window);
    const AttentionShape shape{heads, kv_heads, 12, window};
    AttentionBatch batch(shape, {1, 64, 7, 150});
    const int64_t q_dim = heads * 12, kv_dim = kv_heads * 12, rows = batch.rows;
    Floats q = Random(rows * q_dim, 1), k = Random(rows * kv_dim, 2), v = Random(rows * kv_dim, 3);
    Floats c = Random(rows * q_dim, 4), out(q.size()), log_sum(rows * heads), scaled;
    auto f = [&] {
      scaled = q;
      AppendKv(Matrix(k, kv_dim), Matrix(v, kv_dim), batch.segments, context_);
      Attention(Matrix(scaled, q_dim), shape, batch.segments, Matrix(out, q_dim), context_,
                Matrix(log_sum, heads));
      Loss loss;
      loss.Add(c, out);
      return loss;
    };
    f();
    Floats d_q(q.size()), d_k(k.size()), d_v(v.size());
    auto run = [&](Context& context, Floats& dq, Floats& dk, Floats& dv) {
      AttentionGrad({Matrix(scaled, q_dim), Matrix(k, kv_dim), Matrix(v, kv_dim),
                     Matrix(out, q_dim), Matrix(log_sum, heads), Matrix(c, q_dim),
                     Matrix(dq, q_dim), Matrix(dk, kv_dim), Matrix(dv, kv_dim)},
                    shape, batch.segments, context);
    };
    run(context_, d_q, d_k, d_v);
    Floats d_q1(q.size()), d_k1(k.size()), d_v1(v.size());
    Context one = With(one_);
    run(one, d_q1, d_k1, d_v1);
    EXPECT_EQ(d_q, d_q1);
    EXPECT_EQ(d_k, d_k1);
    EXPECT_EQ(d_v, d_v1);
    // Scores of size 3 carry 3 roundings into the exponent, on top of the sums'.
    ExpectGradient(q, d_q, 0.01, 8, f);
    ExpectGradient(k, d_k, 0.01, 8, f);
    ExpectGradient(v, d_v, 0.05, 8, f);
  }
}

class ExpertFfnCase : public Grad {
 protected:
  static constexpr int64_t kRows = 41, kModel = 24, kHidden = 20, kExperts = 5, kChoices = 2;

  void SetUp() override {
    for (int64_t e = 0; e < kExperts; ++e) {
      w1_.push_back(Random(kHidden * kModel, 10 + e, 0.3));
      w3_.push_back(Random(kHidden * kModel, 20 + e, 0.3));
      w2_.push_back(Random(kModel * kHidden, 30 + e, 0.3));
      experts_.push_back(
          {Weights(w1_[e], kModel), Weights(w3_[e], kModel), Weights(w2_[e], kHidden)});
    }
    // Expert 4 is never chosen.
    for (int64_t t = 0; t < kRows; ++t) {
      const auto first = static_cast<int32_t>(RandomBits(3, 0, t) % 4);
      chosen_.push_back(first);
      chosen_.push_back(static_cast<int32_t>((first + 1 + RandomBits(3, 1, t) % 3) % 4));
    }
    acts_ = AllocateExpertActs(kRows * kChoices, kModel, kHidden, arena_);
    acts_.gate = arena_.Matrix<float>(kRows * kChoices, kHidden);
  }
  std::vector<Floats> w1_, w3_, w2_;
  std::vector<Expert> experts_;
  std::vector<int32_t> chosen_;
  ExpertActs acts_;
};

/// With a capacity choices go nowhere, and some rows have none left.
class ExpertFfnCapacity : public ExpertFfnCase, public ::testing::WithParamInterface<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Capacities, ExpertFfnCapacity, ::testing::Values(0, 9));

TEST_P(ExpertFfnCapacity, InputGateWeightsAndEveryExpert) {
  Floats x = Random(kRows * kModel, 1), gate = Random(kRows * kChoices, 2);
  Floats c = Random(kRows * kModel, 3), out(x.size());
  const ExpertPlan plan = MakeExpertPlan(Matrix(chosen_, kChoices), Matrix(gate, kChoices),
                                         kExperts, arena_, GetParam());
  const int64_t kept = plan.offset[kExperts];
  EXPECT_EQ(kept, GetParam() == 0 ? kRows * kChoices : 4 * GetParam());
  auto f = [&] {
    ExpertFfn(Matrix(x, kModel), experts_, plan, acts_, Matrix(out, kModel), context_);
    Loss loss;
    loss.Add(c, out);
    return loss;
  };
  f();
  struct Result {
    Floats d_x = Floats(kRows * kModel), d_gate = Floats(kRows * kChoices);
    std::vector<Floats> w = std::vector<Floats>(3 * kExperts, Floats(kHidden* kModel, 0.0f));
  };
  auto run = [&](Context& context) {
    Result r;
    std::vector<ExpertGrads> grads;
    for (int64_t e = 0; e < kExperts; ++e)
      grads.push_back({Matrix(r.w[3 * e], kModel), Matrix(r.w[3 * e + 1], kModel),
                       Matrix(r.w[3 * e + 2], kHidden)});
    ExpertFfnGrad({experts_, acts_, Matrix(c, kModel), Matrix(r.d_x, kModel), grads}, plan,
                  Matrix(r.d_gate, kChoices), context);
    return r;
  };
  const Result r = run(context_);
  Context one = With(one_);
  const Result r1 = run(one);
  EXPECT_EQ(r.d_x, r1.d_x);
  EXPECT_EQ(r.d_gate, r1.d_gate);
  EXPECT_EQ(r.w, r1.w);
  ExpectGradient(x, r.d_x, 0.01, 6, f);
  ExpectGradient(gate, r.d_gate, 0.1, 6, f);
  for (int64_t e = 0; e < kExperts - 1; ++e) {
    SCOPED_TRACE(e);
    ExpectGradient(w1_[e], r.w[3 * e], 0.01, 6, f);
    ExpectGradient(w3_[e], r.w[3 * e + 1], 0.01, 6, f);
    ExpectGradient(w2_[e], r.w[3 * e + 2], 0.01, 6, f);
  }
  EXPECT_EQ(r.w[3 * (kExperts - 1)], Floats(kHidden * kModel, 0.0f));
  for (int64_t t = 0; t < kRows; ++t) {
    for (int64_t j = 0; j < kChoices; ++j) {
      const float d_gate = r.d_gate[static_cast<size_t>(t * kChoices + j)];
      EXPECT_EQ(d_gate == 0, plan.slot_of[t][j] < 0);
    }
  }
}

TEST_F(ExpertFfnCase, DenseIsOneExpert) {
  Floats x = Random(kRows * kModel, 1), c = Random(kRows * kModel, 3), out(x.size());
  ExpertActs acts = AllocateExpertActs(kRows, kModel, kHidden, arena_);
  acts.gate = arena_.Matrix<float>(kRows, kHidden);
  auto f = [&] {
    DenseFfn(Matrix(x, kModel), experts_[0], acts, Matrix(out, kModel), context_);
    Loss loss;
    loss.Add(c, out);
    return loss;
  };
  f();
  Floats d_x(x.size()), w1(kHidden * kModel), w3 = w1, w2 = w1;
  const ExpertGrads grads{Matrix(w1, kModel), Matrix(w3, kModel), Matrix(w2, kHidden)};
  DenseFfnGrad({{experts_.data(), 1}, acts, Matrix(c, kModel), Matrix(d_x, kModel), {&grads, 1}},
               Matrix(x, kModel), context_);
  ExpectGradient(x, d_x, 0.01, 6, f);
  ExpectGradient(w1_[0], w1, 0.01, 6, f);
  ExpectGradient(w3_[0], w3, 0.01, 6, f);
  ExpectGradient(w2_[0], w2, 0.01, 6, f);
}

}  // namespace
}  // namespace octet
