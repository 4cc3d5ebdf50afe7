#include "sample/candidates.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "base/rng.h"
#include "sample/sampler.h"

namespace octet {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
/// Of a probability: that of the float exponent (at most 88) by three roundings, that of e^x by
/// some, and that of sums of 16 floats before they are doubles.
constexpr double kRelativeError = (3 * 88 + 32) * 0x1p-24;

/// Logits in steps, so that there are equal ones, some of them none.
std::vector<float> Logits(int32_t n, uint64_t seed) {
  std::vector<float> logits(static_cast<size_t>(n));
  for (size_t i = 0; i < logits.size(); ++i) {
    const double x = 4 * RandomNormal(seed, 0, i);
    logits[i] = i % 37 == 5 ? -kInfinity : static_cast<float>(std::round(x * 64) / 64);
  }
  logits[logits.size() / 2] = std::nanf("");
  return logits;
}

std::vector<SamplingOptions> Options() {
  std::vector<SamplingOptions> all;
  const auto add = [&](auto change) {
    for (const float temperature : {0.0f, 0.3f, 1.0f, 2.5f}) {
      all.push_back(SamplingOptions::Plain());
      all.back().temperature = temperature;
      change(all.back());
      all.push_back(all.back());
      all.back().temperature_first = true;
    }
  };
  add([](SamplingOptions&) {});
  add([](SamplingOptions& o) { o.top_k = 1; });
  add([](SamplingOptions& o) { o.top_k = 40; });
  add([](SamplingOptions& o) { o.top_p = 0.5f; });
  add([](SamplingOptions& o) { o.top_p = 0.99f; });
  add([](SamplingOptions& o) { o.top_p = 0; });
  add([](SamplingOptions& o) { o.min_p = 0.05f; });
  add([](SamplingOptions& o) { o.typical_p = 0.7f; });
  add([](SamplingOptions& o) { o.mirostat_tau = 3; });
  add([](SamplingOptions& o) { o.top_k = 60, o.top_p = 0.9f, o.min_p = 0.02f; });
  return all;
}

std::map<int32_t, float> Left(const Sampler& sampler) {
  std::map<int32_t, float> left;
  for (const Candidate& c : sampler.candidates()) left[c.id] = c.p;
  return left;
}

// With a mask that allows everything, candidates are taken out one by one before anything else.
TEST(CandidateSet, LeavesTheSameOfTheWholeVocabularyAsOfItsTokensOneByOne) {
  for (const int32_t n : {1, 15, 16, 100, 257, 1000, 6144}) {
    std::vector<float> logits = Logits(n, static_cast<uint64_t>(n));
    const std::vector<uint64_t> all((static_cast<size_t>(n) + 63) / 64, ~uint64_t{0});
    for (const SamplingOptions& options : Options()) {
      SCOPED_TRACE(fmt::format(
          "{} tokens, temperature {}, top-k {}, top-p {}, min-p {}, typical {}", n,
          options.temperature, options.top_k, options.top_p, options.min_p, options.typical_p));
      Sampler whole = *Sampler::Create(options, {n, {}, {}});
      Sampler single = *Sampler::Create(options, {n, {}, {}});
      const int32_t id = whole.Sample(logits, {}, 3);
      EXPECT_EQ(id, single.Sample(logits, {}, 3, all));
      if (id < 0) continue;  // one token, which is none
      auto got = Left(whole), want = Left(single);
      EXPECT_EQ(got.size(), want.size());
      for (const auto& [token, p] : want) {
        ASSERT_TRUE(got.contains(token)) << token;
        // Below 1e-37 of the likeliest it may be 0.
        EXPECT_NEAR(got[token], p, p * kRelativeError + 1e-36) << token;
      }
    }
  }
}

TEST(CandidateSet, DrawsEveryPartOfTheWholeVocabulary) {
  std::vector<float> logits(1000, -kInfinity);
  for (const size_t id : {3, 300, 999}) logits[id] = 0;
  CandidateSet set(1000);
  set.Gather(logits);
  set.Normalise();
  EXPECT_EQ(set.At(0).id, 3);
  EXPECT_EQ(set.At(0.33).id, 3);
  EXPECT_EQ(set.At(0.34).id, 300);
  EXPECT_EQ(set.At(0.67).id, 999);
  EXPECT_EQ(set.At(1 - 0x1p-53).id, 999);
  EXPECT_FLOAT_EQ(set.At(0.5).p, 1.0f / 3);
}

TEST(DenseWeights, AreTheExponentialsOfTheDistances) {
  std::vector<float> logits = {1e30f, kInfinity, -kInfinity, std::nanf(""), -1e37f};
  for (int i = 0; i < 300; ++i) logits.push_back(-0.3f * static_cast<float>(i));
  const DenseWeights few{2.0f, 0.5f};
  std::vector<float> weights(kDenseBlock);
  few.Compute(std::span(logits).subspan(5, 250), weights.data());
  for (size_t i = 0; i < 250; ++i) {
    const double x = (static_cast<double>(logits[5 + i]) - 2.0) * 0.5;
    EXPECT_NEAR(weights[i], std::exp(x), std::exp(x) * (3 * 88 + 8) * 0x1p-24) << i;
  }
  const DenseWeights extreme{1e37f, std::numeric_limits<float>::max()};
  extreme.Compute(std::span(logits).first(5), weights.data());
  EXPECT_EQ(weights[0], 0);
  EXPECT_EQ(weights[1], 1);
  for (size_t i = 2; i < 5; ++i) EXPECT_EQ(weights[i], 0) << i;
}

// Sums of several widths: the order is the same in each, and so are the bits.
TEST(DenseWeights, AreSummedInSixteenLanesABlock) {
  for (const int32_t n : {1, 16, 255, 256, 257, 300, 6144}) {
    const std::vector<float> logits = Logits(n, static_cast<uint64_t>(n));
    const DenseWeights scale{std::max(0.0f, MaxLogit(logits)), 1.25f};
    std::vector<double> sums((logits.size() + kDenseBlock - 1) / kDenseBlock);
    const double total = scale.Sum(logits, sums);
    double want_total = 0;
    for (size_t block = 0; block < sums.size(); ++block) {
      const size_t first = block * kDenseBlock;
      std::vector<float> weights(std::min(kDenseBlock, logits.size() - first));
      scale.Compute(std::span(logits).subspan(first, weights.size()), weights.data());
      float lanes[kDenseRun] = {};
      for (size_t i = 0; i < weights.size(); ++i) lanes[i % kDenseRun] += weights[i];
      double want = 0;
      for (const float lane : lanes) want += lane;
      EXPECT_EQ(sums[block], want) << n << " logits, block " << block;
      want_total += want;
    }
    EXPECT_EQ(total, want_total);
  }
}

}  // namespace
}  // namespace octet
