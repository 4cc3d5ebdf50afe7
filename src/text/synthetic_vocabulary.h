// A made-up vocabulary, for models with random weights that programs are to load as any other.
#pragma once

#include <cstdint>

#include "text/tokenizer.h"

namespace octet {

/// `size` pieces in SentencePiece's manner: <unk>, <s>, </s>, the 256 bytes, printable ASCII, then
/// strings of letters from short to long, with and without a space in front. Every piece is one
/// already there and a letter, so that every text has tokens of two or three characters. At least
/// 1,000 pieces.
Vocabulary SyntheticVocabulary(int64_t size);

}  // namespace octet
