// Sets of characters as sequences of byte ranges.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "constrain/grammar.h"

namespace octet {

struct ByteRange {
  uint8_t lo = 0, hi = 0;
};

struct Utf8Sequence {
  std::array<ByteRange, 4> bytes = {};
  int32_t length = 0;
};

/// The UTF-8 encodings of `ranges`, each exactly once, surrogates left out.
std::vector<Utf8Sequence> Utf8Sequences(const CodePointSet& ranges);

}  // namespace octet
