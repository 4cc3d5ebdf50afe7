#include "text/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "text/utf8.h"

namespace octet {
namespace {

/// Markers that end or begin messages wherever they appear; a file that lists one as ordinary or
/// user-defined text would let a user forge a message.
constexpr std::array<std::string_view, 6> kMarkers = {
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>"};

bool LooksLikeMarker(std::string_view piece) {
  return piece.size() > 2 && piece.front() == '<' && piece.back() == '>';
}

void MakeControl(Vocabulary::Token& token) {
  if (token.kind == TokenKind::kNormal || token.kind == TokenKind::kUserDefined) {
    token.kind = TokenKind::kControl;
  }
}

Status CheckSpecialId(const Vocabulary& vocabulary, int32_t id, std::string_view name,
                      std::string_view where) {
  if (id >= -1 && id < static_cast<int64_t>(vocabulary.tokens.size())) return {};
  return Err(ErrorCode::kCorrupt, "{}: the {} token is {}, but the vocabulary has {} tokens", where,
             name, id, vocabulary.tokens.size());
}

Status CheckToken(const Vocabulary& vocabulary, size_t id, std::string_view where) {
  const Vocabulary::Token& token = vocabulary.tokens[id];
  if (!IsValidUtf8(token.piece)) {
    return Err(ErrorCode::kCorrupt, "{}: the piece of token {} is not valid UTF-8", where, id);
  }
  if (std::isnan(token.score)) {
    return Err(ErrorCode::kCorrupt, "{}: the score of token {} is not a number", where, id);
  }
  if (token.kind == TokenKind::kByte && !ByteOfPiece(token.piece)) {
    return Err(ErrorCode::kCorrupt,
               "{}: token {} is marked as a byte, but its piece is '{}', expected <0x00> to <0xFF>",
               where, id, token.piece);
  }
  return {};
}

}  // namespace

std::optional<uint8_t> ByteOfPiece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  int value = 0;
  for (const char digit : piece.substr(3, 2)) {
    if (digit >= '0' && digit <= '9') {
      value = value * 16 + (digit - '0');
    } else if (digit >= 'A' && digit <= 'F') {
      value = value * 16 + (digit - 'A' + 10);
    } else {
      return std::nullopt;
    }
  }
  return static_cast<uint8_t>(value);
}

std::string PieceOfByte(uint8_t byte) { return fmt::format("<0x{:02X}>", byte); }

std::string WithSpaceSymbols(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    if (c == ' ') {
      result += kSpaceSymbol;
    } else {
      result += c;
    }
  }
  return result;
}

int32_t FindPiece(const Vocabulary& vocabulary, std::string_view piece) {
  const auto& tokens = vocabulary.tokens;
  const auto found = std::find_if(tokens.begin(), tokens.end(),
                                  [piece](const auto& token) { return token.piece == piece; });
  return found == tokens.end() ? -1 : static_cast<int32_t>(found - tokens.begin());
}

int32_t FindControl(const Vocabulary& vocabulary, std::string_view piece) {
  const auto& tokens = vocabulary.tokens;
  const auto found = std::find_if(tokens.begin(), tokens.end(), [piece](const auto& token) {
    return token.kind == TokenKind::kControl && token.piece == piece;
  });
  return found == tokens.end() ? -1 : static_cast<int32_t>(found - tokens.begin());
}

Status FinishVocabulary(Vocabulary& vocabulary, std::string_view where) {
  if (vocabulary.tokens.empty()) {
    return Err(ErrorCode::kCorrupt, "{}: the vocabulary has no tokens", where);
  }
  if (!IsValidUtf8(vocabulary.unk_surface)) {
    return Err(ErrorCode::kCorrupt, "{}: unk_surface is not valid UTF-8", where);
  }
  OCTET_TRY(CheckSpecialId(vocabulary, vocabulary.bos, "bos", where));
  OCTET_TRY(CheckSpecialId(vocabulary, vocabulary.eos, "eos", where));
  OCTET_TRY(CheckSpecialId(vocabulary, vocabulary.unk, "unk", where));
  OCTET_TRY(CheckSpecialId(vocabulary, vocabulary.pad, "pad", where));
  for (const int32_t id : vocabulary.extra_eos) {
    OCTET_TRY(CheckSpecialId(vocabulary, id, "extra eos", where));
  }
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    OCTET_TRY(CheckToken(vocabulary, id, where));
  }
  for (const int32_t id : {vocabulary.bos, vocabulary.eos, vocabulary.pad}) {
    if (id >= 0 && LooksLikeMarker(vocabulary.tokens[id].piece)) MakeControl(vocabulary.tokens[id]);
  }
  for (Vocabulary::Token& token : vocabulary.tokens) {
    if (std::find(kMarkers.begin(), kMarkers.end(), token.piece) != kMarkers.end()) {
      MakeControl(token);
    }
  }
  return {};
}

std::optional<std::vector<int32_t>> ByteTokens(const Vocabulary& vocabulary) {
  std::vector<int32_t> ids(256, -1);
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.tokens[id].kind != TokenKind::kByte) continue;
    const auto byte = ByteOfPiece(vocabulary.tokens[id].piece);
    if (byte && ids[*byte] < 0) ids[*byte] = static_cast<int32_t>(id);
  }
  if (std::find(ids.begin(), ids.end(), -1) != ids.end()) return std::nullopt;
  return ids;
}

}  // namespace octet
