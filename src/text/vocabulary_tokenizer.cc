#include "text/vocabulary_tokenizer.h"

#include <utility>

#include "text/detokenizer.h"
#include "text/vocabulary.h"

namespace octet {
namespace {

std::string BytesOf(const Vocabulary& vocabulary, const Vocabulary::Token& token) {
  switch (token.kind) {
    case TokenKind::kControl:
      return {};
    case TokenKind::kUnknown:
      return vocabulary.unk_surface;
    case TokenKind::kByte:
      return std::string(1, static_cast<char>(ByteOfPiece(token.piece).value_or(0)));
    default:
      break;
  }
  std::string bytes;
  std::string_view rest = token.piece;
  while (!rest.empty()) {
    const size_t at = rest.find(kSpaceSymbol);
    bytes += rest.substr(0, at);
    if (at == std::string_view::npos) break;
    bytes += ' ';
    rest.remove_prefix(at + kSpaceSymbol.size());
  }
  return bytes;
}

}  // namespace

VocabularyTokenizer::VocabularyTokenizer(Vocabulary vocabulary)
    : vocabulary_(std::move(vocabulary)) {
  token_bytes_.reserve(vocabulary_.tokens.size());
  for (const Vocabulary::Token& token : vocabulary_.tokens) {
    token_bytes_.push_back(BytesOf(vocabulary_, token));
  }
}

std::string VocabularyTokenizer::Decode(std::span<const int32_t> ids) const {
  Detokenizer detokenizer(*this);
  std::string text;
  for (const int32_t id : ids) text += detokenizer.Push(id);
  return text + detokenizer.Flush();
}

std::string_view VocabularyTokenizer::TokenBytes(int32_t id) const {
  if (id < 0 || id >= vocab_size()) return {};
  return token_bytes_[id];
}

}  // namespace octet
