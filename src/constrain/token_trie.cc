#include "constrain/token_trie.h"

#include <algorithm>

namespace octet {
namespace {

constexpr size_t kLongest = 255;

bool HasText(TokenKind kind) {
  return kind == TokenKind::kNormal || kind == TokenKind::kUserDefined || kind == TokenKind::kByte;
}

}  // namespace

TokenTrie::TokenTrie(const Tokenizer& tokenizer)
    : tokenizer_(tokenizer), vocab_size_(tokenizer.vocab_size()) {
  const Vocabulary& vocabulary = tokenizer.vocabulary();
  drops_first_space_ = vocabulary.add_dummy_prefix || vocabulary.remove_extra_whitespaces;
  std::vector<std::pair<std::string_view, int32_t>> texts;
  texts.reserve(static_cast<size_t>(vocab_size_));
  for (int32_t id = 0; id < vocab_size_; ++id) {
    if (!HasText(vocabulary.tokens[static_cast<size_t>(id)].kind)) continue;
    const std::string_view bytes = tokenizer.TokenBytes(id);
    if (bytes.empty() || bytes.size() > kLongest) continue;
    texts.emplace_back(bytes, id);
    if (bytes.size() == 1) single_bytes_[static_cast<uint8_t>(bytes.front())] = true;
  }
  std::sort(texts.begin(), texts.end());
  Insert(texts);
}

void TokenTrie::Insert(std::span<const std::pair<std::string_view, int32_t>> sorted) {
  std::vector<int32_t> open;  // the nodes from the root to the last one
  std::string_view last;
  const auto close = [&](size_t depth) {
    for (; open.size() > depth; open.pop_back()) {
      nodes_[static_cast<size_t>(open.back())].skip = static_cast<int32_t>(nodes_.size());
    }
  };
  for (const auto& [text, id] : sorted) {
    const auto common = static_cast<size_t>(
        std::mismatch(last.begin(), last.end(), text.begin(), text.end()).first - last.begin());
    close(common);
    for (size_t depth = common; depth < text.size(); ++depth) {
      open.push_back(static_cast<int32_t>(nodes_.size()));
      Node node;
      node.byte = static_cast<uint8_t>(text[depth]);
      node.depth = static_cast<uint8_t>(depth);
      node.first_token = static_cast<int32_t>(tokens_.size());
      nodes_.push_back(node);
    }
    tokens_.push_back(id);
    ++nodes_[static_cast<size_t>(open.back())].n_tokens;
    last = text;
  }
  close(0);
}

bool TokenTrie::is_byte_token(int32_t id) const {
  return tokenizer_.vocabulary().tokens[static_cast<size_t>(id)].kind == TokenKind::kByte;
}

std::string_view TokenTrie::Bytes(int32_t id, bool at_text_start) const {
  std::string_view bytes = tokenizer_.TokenBytes(id);
  const bool drops = at_text_start && drops_first_space_ && !is_byte_token(id);
  if (drops && bytes.starts_with(' ')) bytes.remove_prefix(1);
  return bytes;
}

}  // namespace octet
