// Runs a parser over damaged copies of a good file: it must answer, whatever the answer is. Run
// under ASan and UBSan, this is what "never crashes on garbage" means.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "io/tensor_source.h"

namespace octet::testing {

/// Parses the bytes and, when that works, reads every byte of every tensor.
using Parser = std::function<bool(std::span<const std::byte>)>;

/// Reads the bytes of all tensors, so that a wrong range is touched.
inline void TouchAll(const TensorSource& source) {
  volatile uint64_t sum = 0;  // volatile, or the reads are optimised away
  for (const TensorInfo& info : source.tensors()) {
    const auto data = source.Data(info);
    if (!data) continue;
    EXPECT_EQ(data->size(), info.bytes);
    for (const std::byte b : *data) sum = sum + static_cast<uint64_t>(b);
  }
}

/// Every cut at a 64th must be refused; the copies are exact in size so that ASan sees one byte
/// more being read.
inline void ExpectTruncationsRefused(std::string_view good, const Parser& parse) {
  for (int part = 0; part < 64; ++part) {
    const size_t size = good.size() * part / 64;
    const auto copy = std::make_unique<std::byte[]>(size);
    std::memcpy(copy.get(), good.data(), size);
    EXPECT_FALSE(parse({copy.get(), size})) << "cut to " << size << " of " << good.size();
  }
}

/// `n` copies with one byte changed each, half of them within the first `head` bytes, where the
/// structure is.
inline void SurviveByteFlips(std::string_view good, size_t head, int n, uint64_t seed,
                             const Parser& parse) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  const auto copy = std::make_unique<std::byte[]>(good.size());
  int accepted = 0;
  for (int i = 0; i < n; ++i) {
    std::memcpy(copy.get(), good.data(), good.size());
    const size_t range = i % 2 == 0 ? head : good.size();
    const size_t at = RandomBits(seed, 0, i) % range;
    copy[at] ^= static_cast<std::byte>(1 + RandomBits(seed, 1, i) % 255);
    accepted += parse({copy.get(), good.size()}) ? 1 : 0;
  }
  // Flips in the values themselves cannot be noticed, flips in the structure must be.
  EXPECT_LT(accepted, n);
}

}  // namespace octet::testing
