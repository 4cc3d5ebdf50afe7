// Ids to text as they come, never splitting a UTF-8 character.
#pragma once

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace octet {

/// Feed tokens one by one; each Push returns the text that is complete. Concatenated results plus
/// Flush() equal Tokenizer::Decode of all ids (invalid bytes become U+FFFD, as there).
class Detokenizer {
 public:
  /// `at_text_start`: the first piece's leading space is the dummy prefix and is dropped.
  explicit Detokenizer(const Tokenizer& tokenizer, bool at_text_start = true);
  std::string Push(int32_t id);
  /// What was held back because its character is incomplete.
  std::string Flush();

 private:
  const Tokenizer* tokenizer_;
  bool at_start_;
  std::string pending_;
};

}  // namespace octet
