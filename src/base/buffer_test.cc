#include "base/buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace octet {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

TEST(Buffer, GivesZeroedAlignedBytesOfAnySize) {
  for (const size_t bytes : {size_t{1}, size_t{4096}, 2 * kMiB - 1, 2 * kMiB, 5 * kMiB + 1}) {
    Buffer buffer = *Buffer::Allocate(bytes, "test");
    ASSERT_EQ(buffer.size(), bytes);
    const bool huge = bytes >= 2 * kMiB;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % (huge ? 2 * kMiB : 64), 0u) << bytes;
    const auto is_zero = [](std::byte b) { return b == std::byte{0}; };
    EXPECT_TRUE(std::all_of(buffer.bytes().begin(), buffer.bytes().end(), is_zero)) << bytes;
    std::fill(buffer.bytes().begin(), buffer.bytes().end(), std::byte{7});  // all of it is there
  }
}

TEST(Buffer, OfNothingHasNoMemory) {
  const Buffer buffer = *Buffer::Allocate(0, "test");
  EXPECT_EQ(buffer.data(), nullptr);
  EXPECT_EQ(buffer.size(), 0u);
}

TEST(Buffer, SaysWhatItCouldNotReserve) {
  for (const size_t bytes : {SIZE_MAX, SIZE_MAX / 2, size_t{1} << 47}) {
    const auto buffer = Buffer::Allocate(bytes, "KV cache");
    ASSERT_FALSE(buffer.has_value()) << bytes;
    EXPECT_EQ(buffer.error().code, ErrorCode::kOutOfMemory);
    EXPECT_NE(buffer.error().message.find("KV cache"), std::string::npos);
  }
}

TEST(Buffer, MovesItsMemory) {
  Buffer a = *Buffer::Allocate(3 * kMiB, "test");
  std::byte* const data = a.data();
  Buffer b = std::move(a);
  EXPECT_EQ(b.data(), data);
  b = *Buffer::Allocate(64, "test");
  EXPECT_NE(b.data(), data);
}

}  // namespace
}  // namespace octet
