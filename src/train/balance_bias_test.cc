#include "train/balance_bias.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "support/model_runner.h"
#include "support/tiny_checkpoint.h"
#include "train/initial.h"

namespace octet {
namespace {

using testing::Must;

std::vector<float> BiasOf(const Parameters& weights, int32_t layer) {
  for (const Parameters::Tensor& tensor : weights.tensors()) {
    if (tensor.spec.role != TensorRole::kRouterBias || tensor.spec.layer != layer) continue;
    const std::span<const float> bias = weights.Of(tensor);
    return {bias.begin(), bias.end()};
  }
  return {};
}

class BalanceBias : public ::testing::Test {
 protected:
  BalanceBias() : pool_(2), weights_(Must(InitialWeights(config_, 1, pool_))) {
    weights_ = Must(WithRouterBias(config_, std::move(weights_)));
  }
  ModelConfig config_ = testing::TinyConfig(3);
  ThreadPool pool_;
  Parameters weights_;
};

TEST_F(BalanceBias, MovesTowardsExpertsWithLessThanAnEvenShare) {
  UpdateBalanceBias({5, 1, 3, 4, 4, 4}, 0.25, weights_);
  UpdateBalanceBias({9, 0, 0, 2, 2, 5}, 0.25, weights_);
  EXPECT_EQ(BiasOf(weights_, 0), (std::vector<float>{-0.5f, 0.5f, 0.25f}));
  EXPECT_EQ(BiasOf(weights_, 1), (std::vector<float>{0.25f, 0.25f, -0.25f}));
}

TEST_F(BalanceBias, EvensOutTheLoadsOfARouterThatFavoursAnExpert) {
  for (const Parameters::Tensor& tensor : weights_.tensors()) {
    if (tensor.spec.role == TensorRole::kRouterBias) weights_.Of(tensor)[2] = 1;
  }
  for (int update = 0; update < 30; ++update) {
    std::vector<int64_t> load;
    for (int32_t layer = 0; layer < config_.n_layers; ++layer) {
      // A thousand rows, k = 1: each goes where its own logit, drawn at random, and the bias say.
      const std::vector<float> bias = BiasOf(weights_, layer);
      std::vector<int64_t> of_layer(3);
      for (uint64_t row = 0; row < 1000; ++row) {
        int best = 0;
        double best_score = -1e9;
        for (uint64_t e = 0; e < 3; ++e) {
          const double score = RandomNormal(7, row, e) + bias[e];
          if (score > best_score) best = static_cast<int>(e), best_score = score;
        }
        ++of_layer[static_cast<size_t>(best)];
      }
      load.insert(load.end(), of_layer.begin(), of_layer.end());
    }
    if (update == 0) {
      EXPECT_GT(load[2], 500);
    }
    if (update == 29) {
      // Steps of 0.05 end within a step of even: about 1000 · 0.05 · density of a choice.
      for (const int64_t n : load) EXPECT_NEAR(static_cast<double>(n), 1000.0 / 3, 40);
    }
    UpdateBalanceBias(load, 0.05, weights_);
  }
}

TEST(WithRouterBias, KeepsEveryWeightAndStartsAtZero) {
  ModelConfig config = testing::TinyConfig(3);
  ThreadPool pool(1);
  const Parameters before = Must(InitialWeights(config, 1, pool));
  const Parameters after = Must(WithRouterBias(config, Must(InitialWeights(config, 1, pool))));
  EXPECT_TRUE(config.router_bias);
  EXPECT_EQ(after.tensors().size(), before.tensors().size() + 2);
  EXPECT_EQ(BiasOf(after, 1), std::vector<float>(3));
  for (const Parameters::Tensor& old : before.tensors()) {
    for (const Parameters::Tensor& tensor : after.tensors()) {
      if (tensor.name != old.name) continue;
      EXPECT_TRUE(
          std::equal(before.Of(old).begin(), before.Of(old).end(), after.Of(tensor).begin()))
          << old.name;
    }
  }
}

}  // namespace
}  // namespace octet
