// Hugging Face's tokenizer.json: a BPE vocabulary, its merges and its added tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/json_values.h"
#include "text/merge_tokenizer.h"
#include "text/tokenizer.h"

namespace octet {

struct TokenizerJson {
  Vocabulary vocabulary;  // scores from the merges; not yet through FinishVocabulary
  std::vector<Merge> merges;
};

/// Errors: kCorrupt; kUnsupported for tokenizers that are not of SentencePiece's kind (byte-level
/// BPE, unigram, normalisers beyond the leading space), naming what is not supported.
Result<TokenizerJson> ParseTokenizerJson(std::string_view json, std::string_view where);

/// A token that a file adds beside the model's own.
struct AddedToken {
  int64_t id = -1;
  std::string content;
  bool special = false;
};

/// The entries of an `added_tokens` array; null gives none. Errors: kCorrupt.
Result<std::vector<AddedToken>> ReadAddedTokens(const Json& array, std::string_view where);

/// Puts added tokens in their places, growing the vocabulary (gaps become unused tokens). A place
/// below `keep_below` keeps the model's own piece and only its kind changes.
Status ApplyAddedTokens(const std::vector<AddedToken>& added, size_t keep_below,
                        std::string_view where, Vocabulary& vocabulary);

/// The tokenizer of a parsed file: SentencePiece where its scores are exact, else by merges.
Result<std::unique_ptr<Tokenizer>> MakeTokenizer(TokenizerJson parsed, std::string_view where);

}  // namespace octet
