#include "constrain/utf8_ranges.h"

#include <algorithm>

#include "text/utf8.h"

namespace octet {
namespace {

/// Both ends have the same length. Split where the ranges of continuation bytes are not full
/// (Thompson and Pike's trick, as in Russ Cox's "Regular Expression Matching in the Wild").
void Split(char32_t first, char32_t last, std::vector<Utf8Sequence>& out) {
  for (int i = 1; i < 4; ++i) {
    const char32_t mask = (char32_t{1} << (6 * i)) - 1;
    if ((first & ~mask) == (last & ~mask)) break;
    if ((first & mask) != 0) {
      Split(first, first | mask, out);
      return Split((first | mask) + 1, last, out);
    }
    if ((last & mask) != mask) {
      Split(first, (last & ~mask) - 1, out);
      return Split(last & ~mask, last, out);
    }
  }
  const std::string low = EncodeUtf8(first), high = EncodeUtf8(last);
  Utf8Sequence sequence;
  sequence.length = static_cast<int32_t>(low.size());
  for (size_t i = 0; i < low.size(); ++i) {
    sequence.bytes[i] = {static_cast<uint8_t>(low[i]), static_cast<uint8_t>(high[i])};
  }
  out.push_back(sequence);
}

}  // namespace

std::vector<Utf8Sequence> Utf8Sequences(const CodePointSet& ranges) {
  constexpr CodePointRange kLengths[] = {
      {0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, kLastCodePoint}};
  std::vector<Utf8Sequence> out;
  for (const CodePointRange& r : ranges) {
    for (const CodePointRange& length : kLengths) {
      const char32_t first = std::max(r.first, length.first), last = std::min(r.last, length.last);
      if (first <= last) Split(first, last, out);
    }
  }
  return out;
}

}  // namespace octet
