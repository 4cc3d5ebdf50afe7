#include "cpu/isa.h"

#include <gtest/gtest.h>

namespace octet {
namespace {

constexpr uint32_t kVnniMachine = kIsaAvx2 | kIsaAvx512 | kIsaAvx512Vnni;

TEST(SelectIsa, KeepsEverythingWithoutLimit) {
  EXPECT_EQ(SelectIsa(kVnniMachine, "").value(), kVnniMachine);
  EXPECT_EQ(SelectIsa(0, "").value(), 0u);
}

TEST(SelectIsa, CutsToTheLimitAndWhatIsBelowIt) {
  EXPECT_EQ(SelectIsa(kVnniMachine, "reference").value(), 0u);
  EXPECT_EQ(SelectIsa(kVnniMachine, "avx2").value(), static_cast<uint32_t>(kIsaAvx2));
  EXPECT_EQ(SelectIsa(kVnniMachine, "avx512").value(), kIsaAvx2 | kIsaAvx512);
  const uint32_t all = kVnniMachine | kIsaAvx512Bf16 | kIsaAmxInt8 | kIsaAmxBf16;
  EXPECT_EQ(SelectIsa(all, "amx").value(), all);
  EXPECT_EQ(SelectIsa(all, "avx512_vnni").value(), kVnniMachine);
  EXPECT_EQ(SelectIsa(all, "avx512_bf16").value(), kVnniMachine | kIsaAvx512Bf16);
  // Tiles do not need it: a hypervisor may hide it.
  EXPECT_EQ(SelectIsa(kVnniMachine | kIsaAmxInt8, "amx").value(), kVnniMachine | kIsaAmxInt8);
  EXPECT_FALSE(SelectIsa(kVnniMachine, "avx512_bf16"));
}

TEST(SelectIsa, TakesAvxVnniAsABranchBesideAvx512) {
  const uint32_t home = kIsaAvx2 | kIsaAvxVnni;
  EXPECT_EQ(SelectIsa(home, "").value(), home);
  EXPECT_EQ(SelectIsa(home | kVnniMachine, "avx_vnni").value(), home);
  EXPECT_EQ(SelectIsa(home | kVnniMachine, "avx512_vnni").value(), kVnniMachine);
  EXPECT_FALSE(SelectIsa(kVnniMachine, "avx_vnni"));
}

TEST(SelectIsa, RefusesWhatTheMachineLacksAndUnknownNames) {
  const auto above = SelectIsa(kIsaAvx2, "avx512");
  ASSERT_FALSE(above);
  EXPECT_EQ(above.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(above.error().message.find("avx2"), std::string::npos);
  const auto unknown = SelectIsa(kVnniMachine, "sse9");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::kInvalidArgument);
}

TEST(IsaNames, ListsEveryBit) {
  EXPECT_EQ(IsaNames(0), "reference");
  EXPECT_EQ(IsaNames(kIsaAvx2 | kIsaAmxInt8), "avx2 amx_int8");
}

TEST(DetectIsa, IsStableAndItsBitsImplyTheOnesBelow) {
  const uint32_t bits = DetectIsa();
  EXPECT_EQ(bits, DetectIsa());
  if (bits & (kIsaAmxInt8 | kIsaAmxBf16)) {
    EXPECT_TRUE(bits & kIsaAvx512Vnni);
  }
  if (bits & kIsaAmxBf16) {
    EXPECT_TRUE(bits & kIsaAvx512Bf16);
  }
  if (bits & (kIsaAvx512Vnni | kIsaAvx512Bf16)) {
    EXPECT_TRUE(bits & kIsaAvx512);
  }
  if (bits & (kIsaAvx512 | kIsaAvxVnni)) {
    EXPECT_TRUE(bits & kIsaAvx2);
  }
}

}  // namespace
}  // namespace octet
