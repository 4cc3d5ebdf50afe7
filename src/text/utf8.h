// UTF-8 as SentencePiece judges it: shortest form only, no surrogates, at most U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace octet {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

/// Bytes of the character that `text` begins with; 0 when it begins with none, or is empty.
size_t Utf8Length(std::string_view text);
/// Whether more bytes could make the whole of `text` one character (it is a proper prefix of one).
bool IsIncompleteUtf8(std::string_view text);
bool IsValidUtf8(std::string_view text);
/// The bytes of one code point (below 0x110000).
std::string EncodeUtf8(char32_t code_point);
/// The code point of a valid character, as Utf8Length delimits it.
char32_t DecodeUtf8(std::string_view character);

}  // namespace octet
