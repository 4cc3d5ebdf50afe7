#include "quant/format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "base/rng.h"
#include "support/shared_data.h"

namespace octet {
namespace {

std::vector<Format> AllFormats() {
  std::vector<Format> formats;
  for (int i = 0; i < kFormatCount; ++i) formats.push_back(static_cast<Format>(i));
  return formats;
}

TEST(Format, TableIsInTheOrderOfTheEnum) {
  for (const Format format : AllFormats()) {
    EXPECT_EQ(Info(format).format, format);
    EXPECT_NE(Info(format).decode, nullptr);
  }
}

TEST(Format, IsFoundByNameAndGgmlNumber) {
  for (const Format format : AllFormats()) {
    EXPECT_EQ(FormatFromName(Info(format).name), format);
    EXPECT_EQ(FormatFromGgml(Info(format).ggml_type), format);
  }
  EXPECT_EQ(FormatFromName("q4_k"), Format::kQ4_K);
  EXPECT_EQ(FormatFromName("iq4_Xs"), Format::kIq4_Xs);
  EXPECT_EQ(FormatFromName("Q4_K_M"), std::nullopt);
  EXPECT_EQ(FormatFromName(""), std::nullopt);
  EXPECT_EQ(FormatFromGgml(99), std::nullopt);
}

TEST(Format, BytesCountsWholeBlocks) {
  EXPECT_EQ(FormatBytes(Format::kF16, 7), 14);
  EXPECT_EQ(FormatBytes(Format::kQ4_K, 14336), 14336 / 256 * 144);
  EXPECT_EQ(FormatBytes(Format::kQ8_0, 4096), 4352);
}

// Blocks made by ggml, values by gguf-py; every bit of every value must agree.
TEST(Decode, EqualsGgmlBitForBit) {
  OCTET_NEEDS_SHARED_DATA();
  const testing::Golden golden(testing::SharedData() / "reference/golden/dequant");
  int checked = 0;
  for (const Format format : AllFormats()) {
    const FormatInfo& info = Info(format);
    const std::string name(info.name);
    if (!golden.Has("raw/" + name)) continue;
    const auto raw = golden.Get<std::byte>("raw/" + name);
    const auto expected = golden.Get<float>("f32/" + name);
    const auto n = static_cast<int64_t>(expected.size());
    ASSERT_EQ(FormatBytes(format, n), static_cast<int64_t>(raw.size())) << name;
    std::vector<float> values(expected.size());
    info.decode(raw.data(), n, values.data());
    int64_t different = 0;
    for (size_t i = 0; i < values.size(); ++i)
      different += std::memcmp(&values[i], &expected[i], sizeof(float)) != 0;
    EXPECT_EQ(different, 0) << name << ": values that differ, of " << n;
    ++checked;
  }
  EXPECT_EQ(checked, kFormatCount - 2) << "the golden holds all but F32 and F16";
}

// For the sanitizers: decoders are pure functions of any bytes at any alignment.
TEST(Decode, AcceptsAnyBytesAtAnyAddress) {
  constexpr int64_t kValues = 512;
  for (const Format format : AllFormats()) {
    const auto bytes = static_cast<size_t>(FormatBytes(format, kValues));
    std::vector<std::byte> odd(bytes + 1);
    std::vector<float> out(kValues), again(kValues);
    for (uint64_t round = 0; round < 50; ++round) {
      for (size_t i = 0; i < bytes; ++i)
        odd[i + 1] = static_cast<std::byte>(RandomBits(round, static_cast<uint64_t>(format), i));
      Info(format).decode(odd.data() + 1, kValues, out.data());
      Info(format).decode(odd.data() + 1, kValues, again.data());
      EXPECT_EQ(std::memcmp(out.data(), again.data(), out.size() * sizeof(float)), 0);
    }
    Info(format).decode(odd.data(), 0, out.data());
  }
}

/// What the searching encoder makes of the values.
std::vector<float> EncodeDecode(Format format, const std::vector<float>& values,
                                const float* importance = nullptr) {
  const auto n = static_cast<int64_t>(values.size());
  std::vector<std::byte> blocks(static_cast<size_t>(FormatBytes(format, n)));
  Info(format).encode_weighted(values.data(), importance, n, blocks.data());
  std::vector<float> decoded(values.size());
  Info(format).decode(blocks.data(), n, decoded.data());
  return decoded;
}

double SquaredError(std::span<const float> a, std::span<const float> b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += difference * difference;
  }
  return sum;
}

// The formats whose plain encoder ggml defines by exact arithmetic.
TEST(Encode, EqualsGgmlByteForByteWhereItsRoundingIsPlain) {
  OCTET_NEEDS_SHARED_DATA();
  const testing::Golden golden(testing::SharedData() / "reference/golden/dequant");
  const auto source = golden.Get<float>("source");
  const auto n = static_cast<int64_t>(source.size());
  for (const Format format :
       {Format::kBf16, Format::kQ4_0, Format::kQ4_1, Format::kQ5_0, Format::kQ5_1, Format::kQ8_0}) {
    const auto expected = golden.Get<std::byte>("raw/" + std::string(Info(format).name));
    std::vector<std::byte> blocks(expected.size());
    Info(format).encode(source.data(), n, blocks.data());
    EXPECT_TRUE(blocks == expected) << Info(format).name;
  }
}

// Rows of many kinds: normal, tiny, large, constant, outliers, one-sided, ramps. Each row's error
// is taken relative to its energy, so that all rows count alike.
TEST(EncodeWeighted, LosesNoMoreThanGgml) {
  OCTET_NEEDS_SHARED_DATA();
  const testing::Golden golden(testing::SharedData() / "reference/golden/dequant");
  const auto source = golden.Get<float>("source");
  const auto rows = static_cast<size_t>(golden.Shape("source")[0]);
  const size_t cols = source.size() / rows;
  const std::vector<float> zeros(cols);
  for (const Format format : AllFormats()) {
    if (Info(format).block_values == 1) continue;
    const auto theirs = golden.Get<float>("f32/" + std::string(Info(format).name));
    const auto ours = EncodeDecode(format, source);
    double our_error = 0.0, their_error = 0.0;
    for (size_t row = 0; row < rows; ++row) {
      const auto part = [&](const std::vector<float>& m) {
        return std::span(m).subspan(row * cols, cols);
      };
      const double energy = SquaredError(part(source), zeros);
      if (energy == 0.0) continue;
      our_error += SquaredError(part(source), part(ours)) / energy;
      their_error += SquaredError(part(source), part(theirs)) / energy;
    }
    EXPECT_LE(our_error, their_error) << Info(format).name;
  }
}

TEST(EncodeWeighted, FavoursImportantColumns) {
  constexpr size_t kValues = 8192;
  std::vector<float> values(kValues), importance(kValues);
  for (size_t i = 0; i < kValues; ++i) {
    values[i] = static_cast<float>(RandomNormal(11, 0, i));
    importance[i] = static_cast<float>(std::exp(2.0 * RandomNormal(11, 1, i)));
  }
  const auto weighted_error = [&](const std::vector<float>& decoded) {
    double sum = 0.0;
    for (size_t i = 0; i < kValues; ++i)
      sum += importance[i] * std::pow(static_cast<double>(values[i]) - decoded[i], 2);
    return sum;
  };
  for (const Format format : AllFormats()) {
    if (Info(format).block_values == 1) continue;
    EXPECT_LT(weighted_error(EncodeDecode(format, values, importance.data())),
              0.95 * weighted_error(EncodeDecode(format, values)))
        << Info(format).name;
  }
}

TEST(Encode, KeepsZerosAndFiniteness) {
  constexpr size_t kValues = 256;
  const std::vector<float> zeros(kValues);
  for (const Format format : AllFormats()) {
    EXPECT_EQ(EncodeDecode(format, zeros), zeros) << Info(format).name;
    EXPECT_EQ(EncodeDecode(format, zeros, zeros.data()), zeros) << Info(format).name;
    if (format == Format::kF16) continue;  // whose range is what ends at 65504
    for (const float scale : {1e-42f, 1e-30f, 1e-8f, 1e6f, 1e20f, 1e37f}) {
      std::vector<float> values(kValues);
      for (size_t i = 0; i < kValues; ++i)
        values[i] = scale * static_cast<float>(RandomNormal(5, 0, i));
      for (const float value : EncodeDecode(format, values))
        ASSERT_TRUE(std::isfinite(value)) << Info(format).name << " at scale " << scale;
    }
  }
}

// For the sanitizers: what encoders make of infinities and NaNs is unspecified, but defined.
TEST(Encode, AcceptsAnyFloats) {
  std::vector<float> values(256);
  for (uint64_t round = 0; round < 20; ++round) {
    for (size_t i = 0; i < values.size(); ++i) {
      const auto bits = static_cast<uint32_t>(RandomBits(round, 77, i));
      std::memcpy(&values[i], &bits, sizeof(bits));
      if (i % 64 == round) values[i] = std::numeric_limits<float>::quiet_NaN();
      if (i % 64 == round + 1) values[i] = std::numeric_limits<float>::infinity();
    }
    for (const Format format : AllFormats()) {
      std::vector<std::byte> blocks(static_cast<size_t>(FormatBytes(format, 256)));
      Info(format).encode(values.data(), 256, blocks.data());
      EXPECT_EQ(EncodeDecode(format, values, values.data()).size(), values.size());
    }
  }
}

}  // namespace
}  // namespace octet
