#include "text/detokenizer.h"

#include "text/utf8.h"

namespace octet {

Detokenizer::Detokenizer(const Tokenizer& tokenizer, bool at_text_start)
    : tokenizer_(&tokenizer), at_start_(at_text_start) {
  const Vocabulary& vocabulary = tokenizer.vocabulary();
  if (!vocabulary.add_dummy_prefix && !vocabulary.remove_extra_whitespaces) at_start_ = false;
}

std::string Detokenizer::Push(int32_t id) {
  std::string out;
  if (id < 0 || id >= tokenizer_->vocab_size()) return out;
  if (tokenizer_->vocabulary().tokens[id].kind == TokenKind::kByte) {
    PushByte(tokenizer_->TokenBytes(id), out);
  } else {
    out = Flush();
    PushPiece(id, out);
  }
  // The text's start is over with its first byte.
  if (!out.empty()) at_start_ = false;
  return out;
}

void Detokenizer::PushByte(std::string_view byte, std::string& out) {
  pending_ += byte;
  while (!pending_.empty() && !IsIncompleteUtf8(pending_)) {
    const size_t length = Utf8Length(pending_);
    out += length > 0 ? std::string_view(pending_).substr(0, length) : kReplacementCharacter;
    pending_.erase(0, length > 0 ? length : 1);
  }
}

/// SentencePiece drops the space of the first piece only (with remove_extra_whitespaces: of every
/// piece until there is text), and looks for it past control tokens and unknowns.
void Detokenizer::PushPiece(int32_t id, std::string& out) {
  const Vocabulary& vocabulary = tokenizer_->vocabulary();
  if (dropped_space_ || !out.empty()) at_start_ = false;
  dropped_space_ = false;
  std::string_view bytes = tokenizer_->TokenBytes(id);
  const bool is_text = vocabulary.tokens[id].kind != TokenKind::kUnknown;
  if (at_start_ && is_text && bytes.starts_with(' ')) {
    bytes.remove_prefix(1);
    dropped_space_ = !vocabulary.remove_extra_whitespaces;
  }
  out += bytes;
}

std::string Detokenizer::Flush() {
  std::string out;
  for (size_t i = 0; i < pending_.size(); ++i) out += kReplacementCharacter;
  pending_.clear();
  if (!out.empty()) at_start_ = false;
  return out;
}

}  // namespace octet
