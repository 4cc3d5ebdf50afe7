#include "quant/format.h"

#include <gtest/gtest.h>

#include <cstring>
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

}  // namespace
}  // namespace octet
