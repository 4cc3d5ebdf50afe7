// A vocabulary's texts as a tree of bytes: one walk asks a grammar about every token.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "text/tokenizer.h"

namespace octet {

class TokenTrie {
 public:
  /// Tokens without a text of their own (control, unknown, unused ones) are left out.
  explicit TokenTrie(const Tokenizer& tokenizer);

  struct Node {
    uint8_t byte = 0;  // that leads here
    uint8_t depth = 0;
    int32_t skip = 0;                       // the next node that is not below this one
    int32_t first_token = 0, n_tokens = 0;  // that end here
  };
  /// In preorder; texts longer than 255 bytes are left out.
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const int32_t> tokens(const Node& node) const {
    return std::span(tokens_).subspan(static_cast<size_t>(node.first_token),
                                      static_cast<size_t>(node.n_tokens));
  }

  int32_t vocab_size() const { return vocab_size_; }
  /// Words of a bit mask over the vocabulary.
  size_t mask_words() const { return (static_cast<size_t>(vocab_size_) + 63) / 64; }
  /// Bytes that are a token by themselves.
  const std::array<bool, 256>& single_bytes() const { return single_bytes_; }
  /// Whether the first piece of a text loses its leading space (Detokenizer).
  bool drops_first_space() const { return drops_first_space_; }
  bool is_byte_token(int32_t id) const;
  /// The text a token adds; at the start of a text the first space of a piece is dropped.
  std::string_view Bytes(int32_t id, bool at_text_start) const;

 private:
  void Insert(std::span<const std::pair<std::string_view, int32_t>> sorted);

  const Tokenizer& tokenizer_;
  int32_t vocab_size_ = 0;
  bool drops_first_space_ = false;
  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;
  std::array<bool, 256> single_bytes_ = {};
};

}  // namespace octet
