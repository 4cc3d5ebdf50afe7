// SentencePiece's trainer over files of text.
#pragma once

#include <string>

#include "base/result.h"
#include "octet/train_tokenizer.h"

namespace octet {

/// The content of a `tokenizer.model`.
Result<std::string> TrainSentencePiece(const TrainTokenizerOptions& options, int threads);

}  // namespace octet
