#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"
#include "train/adamw.h"
#include "train/initial.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/tensors.h"
#include "train/trained_model.h"

namespace octet {
namespace {

struct Values {
  explicit Values(size_t n) : weight(n), grad(n) {
    for (size_t i = 0; i < n; ++i) {
      weight[i] = static_cast<float>(RandomNormal(1, 0, i));
      grad[i] = static_cast<float>(RandomNormal(1, 1, i));
    }
  }
  TrainedTensor Tensor(bool vector = false, bool router = false) {
    return {"t", weight, grad, vector, router};
  }
  std::vector<float> weight, grad;
};

/// A context and what it refers to.
struct Runner {
  explicit Runner(int threads) : pool(threads) {}
  ThreadPool pool;
  KernelTable kernels = SelectKernels(DetectIsa());
  Arena arena;
  Context context{pool, kernels, arena, Arithmetic::kFloat32};
};

TEST(AdamW, FollowsTheDefinitionInDouble) {
  Values values(3);
  const std::vector<float> start = values.weight;
  auto optimizer = AdamW::Create({values.Tensor()}, {.weight_decay = 0.3});
  Runner runner(1);
  double w = start[1], m = 0, v = 0;
  for (int t = 1; t <= 10; ++t) {
    optimizer->Step(0.01, 0.5, runner.context);
    const double g = 0.5 * values.grad[1];
    m = 0.9 * m + 0.1 * g;
    v = 0.95 * v + 0.05 * g * g;
    w = w * (1 - 0.01 * 0.3) -
        0.01 * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.95, t))) + 1e-8);
  }
  // Ten updates of about six roundings each, of a weight of order 1 and steps of 0.01.
  EXPECT_NEAR(values.weight[1], w, 10 * 3 * 6e-8 * std::abs(w));
}

TEST(AdamW, DecaysMatricesOnlyAndGivesRoutersTheirRate) {
  Values matrix(2), vector(2), router(2);
  matrix.grad = vector.grad = router.grad = {0, 1};
  matrix.weight = vector.weight = router.weight = {1, 1};
  auto optimizer = AdamW::Create({matrix.Tensor(), vector.Tensor(true), router.Tensor(false, true)},
                                 {.weight_decay = 0.5, .router_rate = 0.25});
  Runner runner(1);
  optimizer->Step(0.1, 1, runner.context);
  EXPECT_FLOAT_EQ(matrix.weight[0], 0.95f);
  EXPECT_FLOAT_EQ(vector.weight[0], 1.0f);
  EXPECT_FLOAT_EQ(router.weight[0], 1 - 0.1f * 0.25f * 0.5f);
  // The first step of Adam is the rate itself.
  EXPECT_NEAR(vector.weight[1], 0.9, 1e-6);
  EXPECT_NEAR(router.weight[1], 0.9875 - 0.025, 1e-6);
}

TEST(AdamW, ThreadsDoNotChangeABit) {
  std::vector<float> results[2];
  for (int threads : {1, 3}) {
    Values a(50000), b(7);
    Runner runner(threads);
    auto optimizer = AdamW::Create({a.Tensor(), b.Tensor()}, {});
    auto average = WeightAverage::Create({a.Tensor(), b.Tensor()}, 0.9);
    for (int i = 0; i < 3; ++i) {
      const double norm = GradientNorm(optimizer->tensors(), runner.context);
      optimizer->Step(0.01, 1 / norm, runner.context);
      average->Update(runner.pool);
    }
    auto& out = results[threads == 1 ? 0 : 1];
    out = a.weight;
    out.insert(out.end(), average->Of(0).begin(), average->Of(0).end());
    out.insert(out.end(), b.weight.begin(), b.weight.end());
  }
  EXPECT_EQ(results[0], results[1]);
}

/// Weights after three updates, and the tiles of all matrices.
struct Updated {
  std::vector<float> weights;
  std::vector<uint16_t> tiles;
};
Updated UpdateModel(bool muon, bool beside, int threads) {
  ModelConfig c;
  c.architecture = "mixtral";
  c.n_layers = 1;
  c.d_model = 48;  // not a multiple of a tile's depth
  c.n_heads = 2;
  c.n_kv_heads = 1;
  c.head_dim = 24;
  c.d_ff = 80;
  c.n_experts = 2;
  c.n_experts_per_token = 1;
  c.vocab_size = 70;
  Runner runner(threads);
  auto trained = TrainWeights(c, *InitialWeights(c, 1, runner.pool));
  auto tiles = ModelTiles::Create(*trained->model);
  (*tiles)->Refresh(runner.context);
  auto optimizer = Optimizer::Create(trained->tensors, {.muon = muon});
  for (int step = 0; step < 3; ++step) {
    for (const TrainedTensor& tensor : trained->tensors) {
      for (size_t i = 0; i < tensor.grad.size(); ++i)
        tensor.grad[i] = static_cast<float>(RandomNormal(2, static_cast<uint64_t>(step), i));
    }
    optimizer->Step(0.01, 1, runner.context, beside ? tiles->get() : nullptr);
    if (!beside) (*tiles)->Refresh(runner.context);
  }
  Updated out;
  for (const TrainedTensor& tensor : trained->tensors)
    out.weights.insert(out.weights.end(), tensor.weight.begin(), tensor.weight.end());
  const Weights& w = trained->model->weights();
  const Expert& expert = w.layers[0].experts[1];
  for (const WeightMatrix* m : {&w.head, &w.layers[0].wk, &expert.w1, &expert.w2, &expert.w3}) {
    const int64_t by_rows = TileOperand::Values(m->rows, m->cols);
    const int64_t by_cols = TileOperand::Values(m->cols, m->rows);
    out.tiles.insert(out.tiles.end(), m->tiles->by_rows, m->tiles->by_rows + by_rows);
    out.tiles.insert(out.tiles.end(), m->tiles->by_cols, m->tiles->by_cols + by_cols);
  }
  return out;
}

TEST(Optimizer, MakesTilesBesideTheUpdateAsAfterIt) {
  for (const bool muon : {false, true}) {
    const Updated want = UpdateModel(muon, false, 1);
    for (const int threads : {1, 3}) {
      const Updated got = UpdateModel(muon, true, threads);
      EXPECT_EQ(got.weights, want.weights) << (muon ? "Muon, " : "AdamW, ") << threads;
      EXPECT_EQ(got.tiles, want.tiles) << (muon ? "Muon, " : "AdamW, ") << threads;
    }
  }
}

/// Muon's iteration on singular values, in double: aX + bX³ + cX⁵ five times.
double Lifted(double s) {
  for (int i = 0; i < 5; ++i) s = 3.4445 * s - 4.7750 * std::pow(s, 3) + 2.0315 * std::pow(s, 5);
  return s;
}

/// x = U diag(s) Vᵀ of products of rotations: rows x cols, as many s as the shorter side.
std::vector<float> WithSingularValues(int64_t rows, int64_t cols, const std::vector<double>& s) {
  std::vector<double> x(static_cast<size_t>(rows * cols));
  for (size_t i = 0; i < s.size(); ++i) x[i * static_cast<size_t>(cols) + i] = s[i];
  const auto at = [&](int64_t r, int64_t c) -> double& {
    return x[static_cast<size_t>(r * cols + c)];
  };
  for (int64_t i = 0; i < 3 * (rows + cols); ++i) {  // Givens rotations of rows, then of columns
    const double angle = 0.7 + 0.3 * static_cast<double>(i);
    const int64_t r = i % rows, r2 = (i * 7 + 3) % rows, c = i % cols, c2 = (i * 5 + 2) % cols;
    for (int64_t j = 0; j < cols && r != r2; ++j) {
      const double a = at(r, j), b = at(r2, j);
      at(r, j) = std::cos(angle) * a - std::sin(angle) * b;
      at(r2, j) = std::sin(angle) * a + std::cos(angle) * b;
    }
    for (int64_t j = 0; j < rows && c != c2; ++j) {
      const double a = at(j, c), b = at(j, c2);
      at(j, c) = std::cos(angle) * a - std::sin(angle) * b;
      at(j, c2) = std::sin(angle) * a + std::cos(angle) * b;
    }
  }
  return {x.begin(), x.end()};
}

TEST(Muon, StepsByTheMomentumWithLiftedSingularValues) {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{40, 70}, {70, 40}}) {
    std::vector<double> s(40), lifted;
    double norm = 0;
    for (size_t i = 0; i < s.size(); ++i) {
      s[i] = 0.05 + 0.03 * static_cast<double>(i);
      norm += s[i] * s[i];
    }
    for (const double value : s) lifted.push_back(Lifted(value / std::sqrt(norm)));
    // The same rotations, so the same U and V.
    std::vector<float> grad = WithSingularValues(rows, cols, s);
    const std::vector<float> want = WithSingularValues(rows, cols, lifted);
    for (const Arithmetic arithmetic : {Arithmetic::kFloat32, Arithmetic::kBf16}) {
      std::vector<float> weight(grad.size(), 1.0f);
      Runner runner(2);
      runner.context.arithmetic = arithmetic;
      auto muon = Muon::Create({{"t", weight, grad, false, false, rows, cols}}, {0.9, 0.5});
      muon->Step(0.01, 3, runner.context);
      double difference = 0, size = 0;
      for (size_t i = 0; i < want.size(); ++i) {
        const double update = (1 - 0.01 * 0.5 - weight[i]) / (0.01 * 0.2 * std::sqrt(70.0));
        difference += std::pow(update - want[i], 2);
        size += std::pow(want[i], 2);
      }
      // Five steps of three products. A step multiplies an error by its slope, 3.4 at most at small
      // values and about 1 near one; rounded operands err by 2^-9 each (random, so as roots of
      // their number), floats by 2^-24 of sums of 70 terms, and the weight by 2^-24 of itself.
      const double rounding = arithmetic == Arithmetic::kBf16
                                  ? 0x1p-9 * std::sqrt(5 * 3 * 2)
                                  : 0x1p-24 * (5 * 3 * std::sqrt(70.0) + 1 / 0.002);
      EXPECT_LT(std::sqrt(difference / size), 3.4 * rounding);
      EXPECT_EQ(std::vector<float>(muon->Momentum(0).begin(), muon->Momentum(0).end())[5],
                static_cast<float>(1 - 0.9) * 3 * grad[5]);
    }
  }
}

TEST(Muon, ZeroGradientsOnlyDecay) {
  std::vector<float> weight(12, 2.0f), grad(12, 0.0f);
  Runner runner(1);
  auto muon = Muon::Create({{"t", weight, grad, false, false, 3, 4}}, {0.95, 0.5});
  muon->Step(0.1, 1, runner.context);
  EXPECT_EQ(weight, std::vector<float>(12, 2 * static_cast<float>(1 - 0.1 * 0.5)));
}

TEST(Optimizer, GivesMuonTheMatricesAndTheSameBitsForAnyThreads) {
  for (const Arithmetic arithmetic : {Arithmetic::kFloat32, Arithmetic::kBf16}) {
    std::vector<float> results[2];
    for (int threads : {1, 3}) {
      Values a(40 * 24), b(24 * 40), vector(30), router(64);
      std::vector<TrainedTensor> tensors = {a.Tensor(), vector.Tensor(true), b.Tensor(),
                                            router.Tensor(false, true)};
      tensors[0].rows = tensors[2].cols = 40;
      tensors[0].cols = tensors[2].rows = 24;
      Runner runner(threads);
      runner.context.arithmetic = arithmetic;
      auto optimizer = Optimizer::Create(tensors, {.muon = true});
      for (int i = 0; i < 3; ++i) optimizer->Step(0.01, 1, runner.context);
      EXPECT_EQ(optimizer->MemoryOf(0).size(), 1u);
      EXPECT_EQ(optimizer->MemoryOf(1).size(), 2u);
      EXPECT_EQ(optimizer->MemoryOf(3).size(), 2u);
      auto& out = results[threads == 1 ? 0 : 1];
      for (const Values* values : {&a, &b, &vector, &router})
        out.insert(out.end(), values->weight.begin(), values->weight.end());
      Values alone(30);
      auto adamw = AdamW::Create({alone.Tensor(true)}, {});
      for (int i = 0; i < 3; ++i) adamw->Step(0.01, 1, runner.context);
      EXPECT_EQ(alone.weight, vector.weight);
    }
    EXPECT_EQ(results[0], results[1]);
  }
}

TEST(GradientNorm, SeesASingleNan) {
  Values a(40000);
  Runner runner(2);
  const std::vector<TrainedTensor> tensors = {a.Tensor()};
  double want = 0;
  for (const float g : a.grad) want += static_cast<double>(g) * g;
  EXPECT_NEAR(GradientNorm(tensors, runner.context), std::sqrt(want), 1e-12 * std::sqrt(want));
  a.grad[39999] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(std::isfinite(GradientNorm(tensors, runner.context)));
  a.grad[39999] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(std::isfinite(GradientNorm(tensors, runner.context)));
  ZeroGradients(tensors, runner.pool);
  EXPECT_EQ(GradientNorm(tensors, runner.context), 0);
}

TEST(Schedule, ShapesAreWhatTheirNamesSay) {
  Schedule s{.kind = ScheduleKind::kConstant,
             .peak = 2,
             .final_fraction = 0.1,
             .steps = 100,
             .warmup_steps = 10,
             .decay_steps = 20};
  EXPECT_EQ(s.At(0), 0);
  EXPECT_DOUBLE_EQ(s.At(5), 1);
  EXPECT_DOUBLE_EQ(s.At(99), 2);
  s.kind = ScheduleKind::kLinear;
  EXPECT_DOUBLE_EQ(s.At(55), 2 * (0.1 + 0.9 * 0.5));
  EXPECT_DOUBLE_EQ(s.At(100), 0.2);
  s.kind = ScheduleKind::kCosine;
  EXPECT_DOUBLE_EQ(s.At(10), 2);
  EXPECT_NEAR(s.At(55), 2 * (0.1 + 0.9 * 0.5), 1e-12);
  EXPECT_DOUBLE_EQ(s.At(1000), 0.2);
  s.kind = ScheduleKind::kWsd;
  EXPECT_DOUBLE_EQ(s.At(80), 2);
  EXPECT_DOUBLE_EQ(s.At(90), 2 * (0.1 + 0.9 * 0.5));
}

}  // namespace
}  // namespace octet
