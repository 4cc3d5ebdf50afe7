// Ids to text as they come, never splitting a UTF-8 character.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace octet {

/// Feed tokens one by one; each Push returns the text that is complete. Concatenated results plus
/// Flush() equal Tokenizer::Decode of all ids (invalid bytes become U+FFFD, as there).
class Detokenizer {
 public:
  /// `at_text_start`: the first piece's leading space is the dummy prefix and is dropped. Pass
  /// false to continue a text that is already there. `tokenizer` must outlive this.
  explicit Detokenizer(const Tokenizer& tokenizer, bool at_text_start = true);
  std::string Push(int32_t id);
  /// What was held back because its character is incomplete; the next Push starts afresh.
  std::string Flush();

 private:
  void PushByte(std::string_view byte, std::string& out);
  void PushPiece(int32_t id, std::string& out);

  const Tokenizer* tokenizer_;
  bool at_start_;
  bool dropped_space_ = false;  // the dummy prefix's space, at the token before
  std::string pending_;         // bytes that may still become a character
};

}  // namespace octet
