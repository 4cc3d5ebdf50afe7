#include "text/utf8.h"

#include <algorithm>
#include <cstdint>

namespace octet {
namespace {

/// What a lead byte promises: the length and the range of the second byte (Unicode 15, table 3-7).
struct Lead {
  size_t length;
  uint8_t second_min = 0x80, second_max = 0xBF;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {0};  // a trail byte, or an overlong form
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};  // above are surrogates
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};  // U+10FFFF is the last
  return {0};
}

/// How many bytes at the start of `text` agree with `lead`.
size_t Matching(const Lead& lead, std::string_view text) {
  size_t n = 1;
  const size_t end = std::min(lead.length, text.size());
  for (; n < end; ++n) {
    const auto byte = static_cast<uint8_t>(text[n]);
    const uint8_t low = n == 1 ? lead.second_min : 0x80;
    const uint8_t high = n == 1 ? lead.second_max : 0xBF;
    if (byte < low || byte > high) break;
  }
  return n;
}

}  // namespace

size_t Utf8Length(std::string_view text) {
  if (text.empty()) return 0;
  const Lead lead = LeadOf(static_cast<uint8_t>(text[0]));
  return lead.length > 0 && Matching(lead, text) == lead.length ? lead.length : 0;
}

bool IsIncompleteUtf8(std::string_view text) {
  if (text.empty()) return false;
  const Lead lead = LeadOf(static_cast<uint8_t>(text[0]));
  return text.size() < lead.length && Matching(lead, text) == text.size();
}

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t n = Utf8Length(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string EncodeUtf8(char32_t code_point) {
  const auto c = static_cast<uint32_t>(code_point);
  auto trail = [c](int shift) { return static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xC0 | (c >> 6)), trail(0)};
  if (c < 0x10000) return {static_cast<char>(0xE0 | (c >> 12)), trail(6), trail(0)};
  return {static_cast<char>(0xF0 | (c >> 18)), trail(12), trail(6), trail(0)};
}

char32_t DecodeUtf8(std::string_view character) {
  const auto lead = static_cast<uint8_t>(character[0]);
  if (character.size() == 1) return lead;
  uint32_t c = lead & (0x7F >> character.size());
  for (const char trail : character.substr(1)) c = c << 6 | (static_cast<uint8_t>(trail) & 0x3F);
  return c;
}

}  // namespace octet
