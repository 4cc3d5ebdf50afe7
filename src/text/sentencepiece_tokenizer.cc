#include "text/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>

#include <exception>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "text/sentencepiece_proto.h"
#include "text/utf8.h"
#include "text/vocabulary.h"
#include "text/vocabulary_tokenizer.h"

namespace octet {
namespace {

/// The library keeps at most this many user-defined pieces that begin at one place (a fixed array
/// in its PrefixMatcher, written without a check).
constexpr size_t kMaxNestedUserPieces = 64;

/// The last code point that no piece contains: it stands for a byte that is no UTF-8.
std::string FindPlaceholder(const Vocabulary& vocabulary) {
  std::set<char32_t> used;
  for (const Vocabulary::Token& token : vocabulary.tokens) {
    std::string_view rest = token.piece;
    while (!rest.empty()) {
      const size_t n = Utf8Length(rest);
      if (n == 4) used.insert(DecodeUtf8(rest.substr(0, n)));
      rest.remove_prefix(n);
    }
  }
  char32_t candidate = 0x10FFFF;
  while (used.contains(candidate)) --candidate;
  return EncodeUtf8(candidate);
}

Status CheckUserPieces(const Vocabulary& vocabulary, std::string_view where) {
  std::set<std::string> pieces;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const Vocabulary::Token& token = vocabulary.tokens[id];
    if (token.kind != TokenKind::kUserDefined) continue;
    if (token.piece.find('\0') != std::string::npos) {
      return Err(ErrorCode::kUnsupported, "{}: user-defined token {} contains a NUL byte", where,
                 id);
    }
    pieces.insert(WithSpaceSymbols(token.piece));
  }
  std::vector<std::string_view> prefixes;  // of the piece at hand, each a prefix of the next
  for (const std::string& piece : pieces) {
    while (!prefixes.empty() && !piece.starts_with(prefixes.back())) prefixes.pop_back();
    prefixes.push_back(piece);
    if (prefixes.size() > kMaxNestedUserPieces) {
      return Err(ErrorCode::kUnsupported,
                 "{}: more than {} user-defined tokens begin one another, up to '{}'", where,
                 kMaxNestedUserPieces, piece);
    }
  }
  return {};
}

class SentencePieceTokenizer final : public VocabularyTokenizer {
 public:
  explicit SentencePieceTokenizer(Vocabulary vocabulary)
      : VocabularyTokenizer(std::move(vocabulary)) {}

  Status Load(std::string_view where) {
    try {
      const auto status = engine_.LoadFromSerializedProto(EngineModel(this->vocabulary()));
      if (!status.ok()) {
        return Err(ErrorCode::kCorrupt, "{}: SentencePiece refuses the vocabulary: {}", where,
                   status.ToString());
      }
    } catch (const std::exception& error) {
      return Err(ErrorCode::kCorrupt, "{}: SentencePiece refuses the vocabulary: {}", where,
                 error.what());
    }
    bytes_ = ByteTokens(this->vocabulary());
    if (bytes_) placeholder_ = FindPlaceholder(this->vocabulary());
    return {};
  }

  std::vector<int32_t> Encode(std::string_view text) const override {
    std::vector<int32_t> ids;
    if (bytes_ && !IsValidUtf8(text)) {
      ids = EncodeBroken(text);
    } else if (!engine_.Encode(text, &ids).ok()) {
      ids.clear();
    }
    // The <unk> that a vocabulary without one was lent.
    std::erase_if(ids, [this](int32_t id) { return id >= vocab_size(); });
    return ids;
  }

 private:
  /// Each invalid byte is replaced by a character outside the vocabulary, which no merge crosses
  /// and which comes back as byte tokens at a known place; there the byte's own token goes.
  std::vector<int32_t> EncodeBroken(std::string_view text) const {
    std::string clean;
    std::vector<std::pair<uint32_t, uint8_t>> broken;  // offset in `clean`, the byte
    while (!text.empty()) {
      const size_t n = Utf8Length(text);
      if (n == 0) {
        broken.emplace_back(clean.size(), static_cast<uint8_t>(text[0]));
        clean += placeholder_;
      } else {
        clean += text.substr(0, n);
      }
      text.remove_prefix(n == 0 ? 1 : n);
    }
    std::vector<int32_t> ids;
    const int32_t first_byte = (*bytes_)[static_cast<uint8_t>(placeholder_[0])];
    auto next = broken.begin();
    const auto encoded = engine_.EncodeAsImmutableProto(clean);
    const auto pieces = encoded.pieces();
    for (size_t i = 0; i < pieces.size(); ++i) {
      const auto id = static_cast<int32_t>(pieces[i].id());
      if (next != broken.end() && pieces[i].begin() == next->first && id == first_byte) {
        ids.push_back((*bytes_)[next->second]);
        i += placeholder_.size() - 1;
        ++next;
      } else {
        ids.push_back(id);
      }
    }
    return ids;
  }

  sentencepiece::SentencePieceProcessor engine_;
  std::optional<std::vector<int32_t>> bytes_;  // [256], with byte fallback
  std::string placeholder_;
};

}  // namespace

Result<std::unique_ptr<Tokenizer>> MakeSentencePieceTokenizer(Vocabulary vocabulary,
                                                              std::string_view where) {
  OCTET_TRY(CheckUserPieces(vocabulary, where));
  auto tokenizer = std::make_unique<SentencePieceTokenizer>(std::move(vocabulary));
  OCTET_TRY(tokenizer->Load(where));
  return tokenizer;
}

Result<std::unique_ptr<Tokenizer>> TokenizerFromVocabulary(Vocabulary vocabulary,
                                                           std::string_view where) {
  OCTET_TRY(FinishVocabulary(vocabulary, where));
  return MakeSentencePieceTokenizer(std::move(vocabulary), where);
}

Result<std::unique_ptr<Tokenizer>> TokenizerFromSentencePiece(std::string_view model_proto,
                                                              std::string_view where) {
  OCTET_ASSIGN(Vocabulary vocabulary, ParseSentencePieceModel(model_proto, where));
  return TokenizerFromVocabulary(std::move(vocabulary), where);
}

}  // namespace octet
