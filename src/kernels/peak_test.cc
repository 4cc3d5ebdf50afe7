// The loops that measure peaks: what can be checked of them without a clock.
#include <gtest/gtest.h>

#include "base/buffer.h"
#include "cpu/isa.h"
#include "kernels/registry.h"

namespace octet {
namespace {

TEST(PeakKernels, RunWithinTheirScratchAndNameTheirWork) {
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op != KernelOp::kPeak || (kernel->isa & ~DetectIsa()) != 0) continue;
    SCOPED_TRACE(kernel->name);
    EXPECT_GT(kernel->peak_ops, 0);
    Buffer scratch = *Buffer::Allocate(kPeakScratchBytes + 64, "test");
    for (int i = 0; i < 64; ++i) scratch.data()[kPeakScratchBytes + i] = std::byte{0x5a};
    kernel->run_peak({.rounds = 20, .scratch = scratch.data()});
    for (int64_t i = 0; i < kPeakScratchBytes; ++i) ASSERT_EQ(scratch.data()[i], std::byte{0});
    for (int i = 0; i < 64; ++i) ASSERT_EQ(scratch.data()[kPeakScratchBytes + i], std::byte{0x5a});
  }
}

TEST(PeakKernels, AreThereForWhatTheMachineHas) {
  const KernelTable table = SelectKernels(DetectIsa());
  const auto peak = [&](Peak p) { return table.peak[static_cast<size_t>(p)]; };
  if ((DetectIsa() & kIsaAvx2) != 0) {
    EXPECT_NE(peak(Peak::kFmaF32), nullptr);
  }
  if ((DetectIsa() & kIsaAvx512Bf16) != 0) {
    EXPECT_NE(peak(Peak::kDotBf16), nullptr);
  }
  if ((DetectIsa() & kIsaAmxBf16) != 0) {
    EXPECT_NE(peak(Peak::kAmxBf16), nullptr);
    EXPECT_NE(peak(Peak::kAmxBf16Loads), nullptr);
  }
  EXPECT_EQ(SelectKernels(0).peak[static_cast<size_t>(Peak::kFmaF32)], nullptr);
}

}  // namespace
}  // namespace octet
