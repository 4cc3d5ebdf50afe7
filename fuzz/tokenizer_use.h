// What the tokenizer fuzzers do with a file that was accepted. Input: the file, and after a last
// 0x00 0xFE 0xFF the text to encode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/chat_template.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace octet::fuzzing {

inline void Require(bool holds) {
  if (!holds) std::abort();
}

inline void UseTokenizer(const Tokenizer& tokenizer, std::string_view text) {
  const std::vector<int32_t> ids = tokenizer.Encode(text);
  Detokenizer detokenizer(tokenizer);
  std::string pieces;
  for (const int32_t id : ids) {
    Require(id >= 0 && id < tokenizer.vocab_size());
    Require(tokenizer.vocabulary().tokens[id].kind != TokenKind::kControl);
    const std::string piece = detokenizer.Push(id);
    Require(IsValidUtf8(piece));
    pieces += piece;
  }
  Require(pieces + detokenizer.Flush() == tokenizer.Decode(ids));
  const ChatMessage messages[] = {{"user", std::string(text)}, {"assistant", "a"}};
  for (const ChatFormat format : kChatFormats) {
    (void)RenderChat(format, messages, tokenizer);
  }
}

/// The file and the text of one input.
inline std::pair<std::string_view, std::string_view> SplitInput(const uint8_t* data, size_t size) {
  constexpr std::string_view kBorder("\0\xFE\xFF", 3);
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t border = input.rfind(kBorder);
  if (border == std::string_view::npos) return {input, "the  </s> caf\xC3\xA9 \xFF\n"};
  return {input.substr(0, border), input.substr(border + kBorder.size())};
}

}  // namespace octet::fuzzing
