#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"
#include "ops/attention.h"
#include "ops/expert_plan.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"
#include "ops/route.h"
#include "ops/swiglu.h"

namespace octet {
namespace {

class Ops : public ::testing::Test {
 protected:
  std::vector<float> Random(int64_t n, uint64_t stream) const {
    std::vector<float> x(static_cast<size_t>(n));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(RandomNormal(11, stream, i));
    return x;
  }
  ThreadPool pool_{2};
  KernelTable kernels_ = SelectKernels(DetectIsa());
  Arena arena_;
  Context context_{pool_, kernels_, arena_};
};

TEST_F(Ops, RmsNormMatchesTheDefinitionInDouble) {
  for (const int64_t d : {1, 15, 16, 17, 300}) {
    auto x = Random(3 * d, 1), w = Random(d, 2);
    std::vector<float> y(x.size());
    RmsNorm(MakeView(x.data(), 3, d), MakeView(w.data(), d), 1e-5, MakeView(y.data(), 3, d),
            context_);
    for (int64_t t = 0; t < 3; ++t) {
      double sum = 0;
      for (int64_t i = 0; i < d; ++i) sum += std::pow(static_cast<double>(x[t * d + i]), 2);
      const double scale = 1 / std::sqrt(sum / static_cast<double>(d) + 1e-5);
      // Three roundings (scale, product, product) and the sum's own.
      for (int64_t i = 0; i < d; ++i) {
        const double want = x[t * d + i] * scale * w[i];
        EXPECT_NEAR(y[t * d + i], want, 8 * 6e-8 * std::abs(want) + 1e-30);
      }
    }
  }
}

TEST_F(Ops, RopeKeepsScoresAFunctionOfDistance) {
  const int64_t d = 16;
  const auto q0 = Random(d, 3), k0 = Random(d, 4);
  for (const RopePairing pairing : {RopePairing::kInterleaved, RopePairing::kHalves}) {
    auto score = [&](int32_t qp, int32_t kp) {
      auto q = q0, k = k0;
      const int32_t positions[] = {qp, kp};
      const RopeTable table = MakeRopeTable(positions, d, 1e4, 1.0, context_);
      std::vector<float> both = q;
      both.insert(both.end(), k.begin(), k.end());
      Rope(MakeView(both.data(), 2, d), table, pairing, context_);
      double dot = 0;
      for (int64_t i = 0; i < d; ++i) dot += static_cast<double>(both[i]) * both[d + i];
      return dot;
    };
    EXPECT_NEAR(score(7, 3), score(1004, 1000), 1e-4);
    EXPECT_GT(std::abs(score(7, 3) - score(9, 3)), 1e-2);
  }
}

TEST_F(Ops, RopePairingsArePermutationsOfEachOther) {
  const int64_t d = 8;
  const auto natural = Random(d, 5);
  std::vector<float> a = natural, b(d);
  for (int64_t i = 0; i < d / 2; ++i) {
    b[i] = natural[2 * i];
    b[d / 2 + i] = natural[2 * i + 1];
  }
  const int32_t position[] = {5};
  const RopeTable table = MakeRopeTable(position, d, 1e6, 1.0, context_);
  Rope(MakeView(a.data(), 1, d), table, RopePairing::kInterleaved, context_);
  Rope(MakeView(b.data(), 1, d), table, RopePairing::kHalves, context_);
  for (int64_t i = 0; i < d / 2; ++i) {
    EXPECT_EQ(a[2 * i], b[i]);
    EXPECT_EQ(a[2 * i + 1], b[d / 2 + i]);
  }
}

TEST_F(Ops, RouteTakesTheBestFirstAndTheLowerExpertOnTies) {
  const float logits[] = {1, 3, 3, -2, 2, 0, 0, 0};
  std::vector<int32_t> experts(3);
  std::vector<float> weights(3);
  Route(MakeView(logits, 1, 8), {}, MakeView(experts.data(), 1, 3), MakeView(weights.data(), 1, 3),
        context_);
  EXPECT_EQ(experts, (std::vector<int32_t>{1, 2, 4}));
  const double sum = 2 + std::exp(-1.0);
  EXPECT_NEAR(weights[0], 1 / sum, 1e-7);
  EXPECT_NEAR(weights[1], 1 / sum, 1e-7);
  EXPECT_NEAR(weights[2], std::exp(-1.0) / sum, 1e-7);
}

TEST_F(Ops, RouteChoosesByTheBiasAndWeighsWithoutIt) {
  const float logits[] = {1, 3, 2, -2}, bias[] = {2.5f, -4, 0, 0};
  std::vector<int32_t> experts(2);
  std::vector<float> weights(2);
  Route(MakeView(logits, 1, 4), MakeView(bias, 4), MakeView(experts.data(), 1, 2),
        MakeView(weights.data(), 1, 2), context_);
  EXPECT_EQ(experts, (std::vector<int32_t>{0, 2}));
  EXPECT_NEAR(weights[0], 1 / (1 + std::exp(1.0)), 1e-7);
  EXPECT_NEAR(weights[1], 1 / (1 + std::exp(-1.0)), 1e-7);
}

TEST_F(Ops, RouteKeepsToTheRulesOfEachRow) {
  const float logits[] = {1, 3, 2, -2, 1, 3, 2, -2, 1, 3, 2, -2};
  const RouteRule rules[] = {{1, 0}, {3, 0b0010}, {3, 0b0111}};
  std::vector<int32_t> experts(9);
  std::vector<float> weights(9);
  Route(MakeView(logits, 3, 4), {}, MakeView(experts.data(), 3, 3), MakeView(weights.data(), 3, 3),
        context_, rules);
  EXPECT_EQ(experts, (std::vector<int32_t>{1, -1, -1, 2, 0, 3, 3, -1, -1}));
  EXPECT_EQ(weights[0], 1);
  EXPECT_EQ(weights[1], 0);
  EXPECT_EQ(weights[6], 1);
  const ExpertPlan plan =
      MakeExpertPlan(MakeView(static_cast<const int32_t*>(experts.data()), 3, 3),
                     MakeView(static_cast<const float*>(weights.data()), 3, 3), 4, arena_);
  EXPECT_EQ(std::vector<int32_t>(plan.offset.begin(), plan.offset.end()),
            (std::vector<int32_t>{0, 1, 2, 3, 5}));
  EXPECT_EQ(plan.slot_of[0][1], -1);
  EXPECT_EQ(plan.row_of_slot[plan.slot_of[2][0]], 2);
}

TEST_F(Ops, RouteStaysInRangeOnNaN) {
  const std::vector<float> logits(8, NAN);
  std::vector<int32_t> experts(2, -1);
  std::vector<float> weights(2);
  Route(MakeView(logits.data(), 1, 8), {}, MakeView(experts.data(), 1, 2),
        MakeView(weights.data(), 1, 2), context_);
  EXPECT_EQ(experts, (std::vector<int32_t>{0, 1}));
}

TEST_F(Ops, ExpertPlanIsASortOfTokenExpertPairs) {
  const int32_t experts[] = {2, 0, 1, 2, 0, 2};  // three rows, two choices
  const std::vector<float> weights(6, 0.5f);
  const ExpertPlan plan =
      MakeExpertPlan(MakeView(experts, 3, 2), MakeView(weights.data(), 3, 2), 4, arena_);
  EXPECT_EQ(std::vector<int32_t>(plan.offset.begin(), plan.offset.end()),
            (std::vector<int32_t>{0, 2, 3, 6, 6}));
  EXPECT_EQ(std::vector<int32_t>(plan.row_of_slot.begin(), plan.row_of_slot.end()),
            (std::vector<int32_t>{0, 2, 1, 0, 1, 2}));
  for (int64_t t = 0; t < 3; ++t) {
    for (int64_t j = 0; j < 2; ++j) EXPECT_EQ(plan.row_of_slot[plan.slot_of[t][j]], t);
  }
}

TEST_F(Ops, ExpertPlanDropsTheSmallestWeightsBeyondItsCapacity) {
  const int32_t experts[] = {0, 1, 0, 2, 1, 0, 0, 1, 0, 2};  // five rows, two choices
  const float weights[] = {0.5f, 0.5f, 0.9f, 0.1f, 0.6f, 0.4f, 0.5f, 0.5f, 0.7f, 0.3f};
  EXPECT_EQ(ExpertCapacity(0.9, 5, 2, 3), 3);
  EXPECT_EQ(ExpertCapacity(0, 5, 2, 3), 0);
  const ExpertPlan plan =
      MakeExpertPlan(MakeView(experts, 5, 2), MakeView(weights, 5, 2), 3, arena_, 3);
  EXPECT_EQ(std::vector<int32_t>(plan.offset.begin(), plan.offset.end()),
            (std::vector<int32_t>{0, 3, 6, 8}));
  // Expert 0 is wanted by all: 0.9, 0.7 and the first of two 0.5 stay.
  const std::vector<int32_t> slots(plan.slot_of.data, plan.slot_of.data + 10);
  EXPECT_EQ(slots, (std::vector<int32_t>{0, 3, 1, 6, 4, -1, -1, 5, 2, 7}));
  EXPECT_EQ(std::vector<int32_t>(plan.row_of_slot.data, plan.row_of_slot.data + 8),
            (std::vector<int32_t>{0, 1, 4, 0, 2, 3, 1, 4}));
}

TEST_F(Ops, SwiGluMatchesTheDefinitionInDouble) {
  auto gate = Random(100, 6);
  const auto up = Random(100, 7), before = gate;
  SwiGlu(MakeView(gate.data(), 1, 100), MakeView(up.data(), 1, 100), context_);
  for (size_t i = 0; i < gate.size(); ++i) {
    const double z = before[i];
    EXPECT_NEAR(gate[i], z / (1 + std::exp(-z)) * up[i], 6e-7 * std::abs(z * up[i]) + 1e-30);
  }
}

/// Softmax attention written plainly in double, for one head layout.
std::vector<double> PlainAttention(const std::vector<float>& q, const std::vector<float>& k,
                                   const std::vector<float>& v, const AttentionShape& s,
                                   int64_t rows, int64_t keys) {
  const int64_t group = s.n_heads / s.n_kv_heads, d = s.head_dim, kv_dim = s.n_kv_heads * d;
  std::vector<double> out(static_cast<size_t>(rows * s.n_heads * d));
  for (int64_t t = 0; t < rows; ++t) {
    const int64_t position = keys - rows + t;
    const int64_t first =
        s.sliding_window > 0 ? std::max<int64_t>(0, position - s.sliding_window + 1) : 0;
    for (int64_t h = 0; h < s.n_heads; ++h) {
      std::vector<double> p;
      double sum = 0;
      for (int64_t j = first; j <= position; ++j) {
        double dot = 0;
        for (int64_t i = 0; i < d; ++i) {
          dot += static_cast<double>(q[(t * s.n_heads + h) * d + i]) *
                 k[j * kv_dim + h / group * d + i];
        }
        p.push_back(std::exp(dot / std::sqrt(static_cast<double>(d))));
        sum += p.back();
      }
      for (int64_t j = first; j <= position; ++j) {
        for (int64_t i = 0; i < d; ++i) {
          out[(t * s.n_heads + h) * d + i] +=
              p[j - first] / sum * v[j * kv_dim + h / group * d + i];
        }
      }
    }
  }
  return out;
}

TEST_F(Ops, AttentionMatchesPlainSoftmaxInDouble) {
  for (const int64_t window : {0, 1, 50, 64, 100}) {
    const AttentionShape shape{6, 2, 12, window};
    const int64_t keys = 200, rows = 70, kv_dim = 24, page_tokens = 7;
    const auto k = Random(keys * kv_dim, 8), v = Random(keys * kv_dim, 9);
    auto q = Random(rows * 72, 10);
    const auto expected = PlainAttention(q, k, v, shape, rows, keys);
    const int64_t n_pages = (keys + page_tokens - 1) / page_tokens;
    std::vector<std::vector<float>> pages(2 * n_pages, std::vector<float>(page_tokens * kv_dim));
    std::vector<std::byte*> pointers;
    for (auto& page : pages) pointers.push_back(reinterpret_cast<std::byte*>(page.data()));
    const KvView kv{{pointers.data(), static_cast<size_t>(n_pages)},
                    {pointers.data() + n_pages, static_cast<size_t>(n_pages)},
                    static_cast<int32_t>(page_tokens),
                    2,
                    12,
                    Format::kF32};
    const AttentionSegment all{0, keys, 0, kv}, last{0, rows, keys - rows, kv};
    AppendKv(MakeView(k.data(), keys, kv_dim), MakeView(v.data(), keys, kv_dim), {&all, 1},
             context_);
    std::vector<float> out(rows * 72);
    Attention(MakeView(q.data(), rows, 72), shape, {&last, 1}, MakeView(out.data(), rows, 72),
              context_);
    double difference = 0, norm = 0;
    for (size_t i = 0; i < out.size(); ++i) {
      difference += std::pow(out[i] - expected[i], 2);
      norm += std::pow(expected[i], 2);
    }
    EXPECT_LT(std::sqrt(difference / norm), 1e-6) << "window " << window;
  }
}

}  // namespace
}  // namespace octet
