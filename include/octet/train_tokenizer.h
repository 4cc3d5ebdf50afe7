// Makes a vocabulary from text: a SentencePiece model of byte-pair encoding with byte fallback, as
// Mistral's are. Part of the public facade.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "octet/error.h"

namespace octet {

struct TrainTokenizerOptions {
  std::vector<std::filesystem::path> files;  // text (.txt, .txt.gz) or JSONL, as octet train reads
  int64_t vocab_size = 8192;                 // all of it: bytes, special tokens, pieces
  double coverage = 0.9995;                  // share of characters with pieces of their own
  /// Tokens that no text yields; a chat format inserts them by id.
  std::vector<std::string> reserved = {"[INST]", "[/INST]"};
  int64_t max_bytes = 0;  // of text; beyond it every n-th line is taken; 0: all
  int threads = 0;        // 0: one a core
};

/// Writes a `tokenizer.model`. kInvalidArgument when the text is too little for the vocabulary.
Status TrainTokenizer(const TrainTokenizerOptions& options, const std::filesystem::path& output);

}  // namespace octet
