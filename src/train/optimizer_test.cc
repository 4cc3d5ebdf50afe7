#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"
#include "train/adamw.h"
#include "train/schedule.h"
#include "train/tensors.h"

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
