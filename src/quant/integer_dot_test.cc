#include "quant/integer_dot.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace octet {
namespace {

std::vector<ActivationBlock> Quantize(const std::vector<float>& x) {
  std::vector<ActivationBlock> blocks((x.size() + 255) / 256);
  QuantizeActivations(x.data(), static_cast<int64_t>(x.size()), blocks.data());
  return blocks;
}

std::vector<ActivationBlock> Quantize32(const std::vector<float>& x) {
  std::vector<ActivationBlock> blocks((x.size() + 255) / 256);
  QuantizeActivations32(x.data(), static_cast<int64_t>(x.size()), blocks.data());
  return blocks;
}

/// As the format's products read them.
std::vector<ActivationBlock> QuantizeFor(Format format, const std::vector<float>& x) {
  return ReadsScalesPer32(format) ? Quantize32(x) : Quantize(x);
}

/// Of the group that holds value i.
float ScaleOf(Format format, const std::vector<ActivationBlock>& blocks, size_t i) {
  const ActivationBlock& block = blocks[i / 256];
  return ReadsScalesPer32(format) ? block.scale32[i % 256 / 32] : block.scale;
}

std::vector<float> Normal(size_t n, uint64_t stream) {
  std::vector<float> x(n);
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<float>(RandomNormal(3, stream, i));
  return x;
}

TEST(QuantizeActivations, RoundsToNearestEvenAndSums) {
  std::vector<float> x(256, 0.0f);
  x[0] = -127.0f;
  x[1] = 0.5f;
  x[2] = 1.5f;
  x[3] = -2.5f;
  x[17] = 126.5f;
  x[255] = 3.49f;
  const ActivationBlock b = Quantize(x)[0];
  EXPECT_EQ(b.scale, 1.0f);
  EXPECT_EQ(b.q[0], -127);
  EXPECT_EQ(b.q[1], 0);
  EXPECT_EQ(b.q[2], 2);
  EXPECT_EQ(b.q[3], -2);
  EXPECT_EQ(b.q[17], 126);
  EXPECT_EQ(b.q[255], 3);
  EXPECT_EQ(b.sum16[0], -127);
  EXPECT_EQ(b.sum16[1], 126);
  EXPECT_EQ(b.sum32[0], -1);
  EXPECT_EQ(b.sum32[7], 3);
}

TEST(QuantizeActivations, IsWithinHalfAStepOfTheValue) {
  const std::vector<float> x = Normal(1024, 1);
  const auto blocks = Quantize(x);
  for (size_t i = 0; i < x.size(); ++i) {
    const ActivationBlock& b = blocks[i / 256];
    // The product with the rounded inverse is off by at most 127·2^-23 of a step.
    EXPECT_LE(std::fabs(x[i] - b.scale * b.q[i % 256]), b.scale * (0.5f + 0x1p-16f));
  }
}

TEST(QuantizeActivations, PadsAPartialBlockWithZeros) {
  const auto blocks = Quantize(std::vector<float>(288, 2.0f));
  ASSERT_EQ(blocks.size(), 2u);
  EXPECT_EQ(blocks[1].q[31], 127);
  EXPECT_EQ(blocks[1].q[32], 0);
  EXPECT_EQ(blocks[1].sum32[0], 32 * 127);
  EXPECT_EQ(blocks[1].sum32[1], 0);
}

TEST(QuantizeActivations, DefinesTinyInfiniteAndNan) {
  const auto scale_of = [](float value) {
    std::vector<float> x(256, 1.0f);
    if (std::fabs(value) < 1.0f) x.assign(256, 0.0f);
    x[100] = value;
    const ActivationBlock b = Quantize(x)[0];
    for (const int8_t q : b.q) EXPECT_EQ(q, 0);
    return b.scale;
  };
  EXPECT_EQ(scale_of(0.0f), 0.0f);
  EXPECT_EQ(scale_of(1e-40f), 0.0f);
  EXPECT_TRUE(std::isnan(scale_of(-std::numeric_limits<float>::infinity())));
  EXPECT_TRUE(std::isnan(scale_of(std::numeric_limits<float>::quiet_NaN())));
}

TEST(QuantizeActivations32, GivesEveryGroupItsScale) {
  std::vector<float> x = Normal(256 + 40, 2);
  for (size_t i = 0; i < x.size(); ++i) x[i] *= static_cast<float>(1 << (i / 32));
  x[70] = std::numeric_limits<float>::infinity();
  x[100] = -127.0f * 1024;
  for (size_t i = 128; i < 160; ++i) x[i] = 1e-38f;
  const auto blocks = Quantize32(x);
  ASSERT_EQ(blocks.size(), 2u);
  EXPECT_EQ(blocks[0].scale32[3], 1024.0f);
  EXPECT_EQ(blocks[0].q[100], -127);
  EXPECT_TRUE(std::isnan(blocks[0].scale32[2]));
  EXPECT_EQ(blocks[0].scale32[4], 0.0f);
  for (size_t i = 0; i < 512; ++i) {
    const ActivationBlock& b = blocks[i / 256];
    const float scale = b.scale32[i % 256 / 32];
    if (i >= x.size() || std::isnan(scale) || scale == 0.0f) {
      EXPECT_EQ(b.q[i % 256], 0) << i;
    } else {
      EXPECT_LE(std::fabs(x[i] - scale * b.q[i % 256]), scale * (0.5f + 0x1p-16f)) << i;
    }
  }
  for (const ActivationBlock& b : blocks) {
    for (int g = 0; g < 8; ++g) {
      int sum = 0;
      for (int k = 0; k < 32; ++k) sum += b.q[32 * g + k];
      EXPECT_EQ(b.sum32[g], sum);
    }
  }
}

class IntegerDot : public ::testing::TestWithParam<Format> {};

// |Σ w·x − dot| ≤ Σ_b (half a step of group b)·‖w_b‖₁ by Hölder, and the float roundings.
TEST_P(IntegerDot, IsWithinTheErrorOfEightBitActivations) {
  const Format format = GetParam();
  const int64_t cols = Info(format).block_values == 32 ? 1024 + 96 : 1024;
  for (uint64_t row = 0; row < 8; ++row) {
    const std::vector<float> weights = Normal(static_cast<size_t>(cols), 10 + row);
    const std::vector<float> x = Normal(static_cast<size_t>(cols), 100 + row);
    std::vector<std::byte> blocks(static_cast<size_t>(FormatBytes(format, cols)));
    Info(format).encode(weights.data(), cols, blocks.data());
    std::vector<float> w(weights.size());
    Info(format).decode(blocks.data(), cols, w.data());
    const auto activations = QuantizeFor(format, x);
    double exact = 0.0, bound = 0.0;
    for (size_t i = 0; i < w.size(); ++i) {
      const double magnitude = std::fabs(w[i]);
      exact += static_cast<double>(w[i]) * x[i];
      bound += magnitude * ScaleOf(format, activations, i) * (0.5 + 0x1p-16);
      // A term meets the roundings of its group's value, at most four, and then one for each group
      // of its row from its own on: at most 35 of 32 values.
      bound += magnitude * std::fabs(x[i]) * 40 * 0x1p-24;
    }
    const float dot = FindIntegerDot(format)(blocks.data(), activations.data(), cols, 0.0f);
    EXPECT_LE(std::fabs(dot - exact), bound) << Info(format).name << " row " << row;
    EXPECT_GT(bound, 0.0);
  }
}

// Activations that are integers with a scale of exactly 1 leave nothing to lose but float
// roundings: any code, scale or sum in the wrong place shows.
TEST_P(IntegerDot, EqualsTheDecodedDotForIntegerActivations) {
  const Format format = GetParam();
  const int64_t cols = Info(format).block_values == 32 ? 512 + 64 : 512;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<float> weights = Normal(static_cast<size_t>(cols), 50 + seed), w(weights.size());
    std::vector<std::byte> blocks(static_cast<size_t>(FormatBytes(format, cols)));
    Info(format).encode(weights.data(), cols, blocks.data());
    Info(format).decode(blocks.data(), cols, w.data());
    std::vector<float> x(weights.size());
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = i % 32 == 0 ? 127.0f : static_cast<float>(RandomBits(seed, 9, i) % 255) - 127.0f;
    double exact = 0.0, magnitude = 0.0;
    for (size_t i = 0; i < w.size(); ++i) {
      exact += static_cast<double>(w[i]) * x[i];
      magnitude += std::fabs(static_cast<double>(w[i]) * x[i]);
    }
    const auto activations = QuantizeFor(format, x);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(ScaleOf(format, activations, i), 1.0f);
    const float dot = FindIntegerDot(format)(blocks.data(), activations.data(), cols, 0.0f);
    // Three roundings of a group's value, one for each of the 18 groups of 32 that follow it, and
    // the decoder's three.
    EXPECT_LE(std::fabs(dot - exact), magnitude * (3 + 18 + 3) * 0x1p-24) << Info(format).name;
  }
}

TEST_P(IntegerDot, CarriesNanActivationsToTheResult) {
  const Format format = GetParam();
  std::vector<float> x = Normal(512, 7);
  std::vector<std::byte> blocks(static_cast<size_t>(FormatBytes(format, 512)));
  Info(format).encode(x.data(), 512, blocks.data());
  x[300] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(
      std::isnan(FindIntegerDot(format)(blocks.data(), QuantizeFor(format, x).data(), 512, 0.0f)));
}

TEST_P(IntegerDot, ContinuesFromWhereAPartEnded) {
  const Format format = GetParam();
  const std::vector<float> x = Normal(768, 8);
  std::vector<std::byte> blocks(static_cast<size_t>(FormatBytes(format, 768)));
  Info(format).encode(x.data(), 768, blocks.data());
  const auto activations = QuantizeFor(format, x);
  const IntegerDotFn dot = FindIntegerDot(format);
  const float whole = dot(blocks.data(), activations.data(), 768, 0.0f);
  const float first = dot(blocks.data(), activations.data(), 256, 0.0f);
  EXPECT_EQ(dot(blocks.data() + FormatBytes(format, 256), activations.data() + 1, 512, first),
            whole);
}

// For the sanitizers: no bytes overflow the integers.
TEST_P(IntegerDot, AcceptsAnyBytes) {
  const Format format = GetParam();
  std::vector<std::byte> blocks(static_cast<size_t>(FormatBytes(format, 512)));
  for (const int fill : {0x00, 0x7f, 0x80, 0xff, -1}) {
    for (size_t i = 0; i < blocks.size(); ++i)
      blocks[i] = static_cast<std::byte>(fill >= 0 ? fill : RandomBits(1, 2, i));
    for (const float sign : {1.0f, -1.0f}) {
      const auto x = QuantizeFor(format, std::vector<float>(512, sign));
      const float once = FindIntegerDot(format)(blocks.data(), x.data(), 512, 0.0f);
      const float twice = FindIntegerDot(format)(blocks.data(), x.data(), 512, 0.0f);
      EXPECT_EQ(std::bit_cast<uint32_t>(once), std::bit_cast<uint32_t>(twice));
    }
  }
}

std::vector<Format> IntegerFormats() {
  std::vector<Format> formats;
  for (int i = 0; i < kFormatCount; ++i)
    if (Info(static_cast<Format>(i)).block_values > 1) formats.push_back(static_cast<Format>(i));
  return formats;
}
INSTANTIATE_TEST_SUITE_P(Formats, IntegerDot, ::testing::ValuesIn(IntegerFormats()),
                         [](const auto& info) { return std::string(Info(info.param).name); });

TEST(FindIntegerDot, IsNullForFloatFormatsAlone) {
  for (int i = 0; i < kFormatCount; ++i) {
    const auto format = static_cast<Format>(i);
    EXPECT_EQ(FindIntegerDot(format) == nullptr, Info(format).block_values == 1);
  }
}

}  // namespace
}  // namespace octet
