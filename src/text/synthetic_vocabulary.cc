#include "text/synthetic_vocabulary.h"

#include <string>
#include <utility>

#include "base/check.h"
#include "text/vocabulary.h"

namespace octet {

Vocabulary SyntheticVocabulary(int64_t size) {
  CHECK(size >= 1000);
  Vocabulary vocabulary;
  auto& tokens = vocabulary.tokens;
  tokens.push_back({"<unk>", 0, TokenKind::kUnknown});
  tokens.push_back({"<s>", 0, TokenKind::kControl});
  tokens.push_back({"</s>", 0, TokenKind::kControl});
  for (int byte = 0; byte < 256; ++byte)
    tokens.push_back({PieceOfByte(static_cast<uint8_t>(byte)), 0, TokenKind::kByte});

  float score = 0;  // earlier pieces merge first
  const auto add = [&](std::string piece) {
    if (static_cast<int64_t>(tokens.size()) < size)
      tokens.push_back({std::move(piece), score--, TokenKind::kNormal});
  };
  std::vector<std::string> longest;  // pieces of as many symbols as were reached
  for (char c = '!'; c <= '~'; ++c) add(std::string(1, c));
  add(std::string(kSpaceSymbol));
  for (char c = 'a'; c <= 'z'; ++c) longest.emplace_back(1, c);
  longest.emplace_back(kSpaceSymbol);
  while (static_cast<int64_t>(tokens.size()) < size) {
    std::vector<std::string> longer;
    for (const std::string& piece : longest) {
      for (char c = 'a'; c <= 'z'; ++c) longer.push_back(piece + c);
    }
    for (const std::string& piece : longer) add(piece);
    longest = std::move(longer);
  }
  return vocabulary;
}

}  // namespace octet
