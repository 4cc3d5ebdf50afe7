// The documents a run learns from and those it is measured on, as its options name them.
#pragma once

#include <vector>

#include "base/result.h"
#include "octet/train.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "train/mixture.h"

namespace octet {

/// options.sources, then options.held_out_sources with weight 0. Files are tokenised once: the
/// tokens are kept in the run's folder and used again while the files and the vocabulary are the
/// same.
Result<std::vector<Source>> OpenSources(const TrainOptions& options, const Tokenizer& tokenizer);

/// options.chat_format, or what the tokenizer says, else Mistral's first.
Result<ChatFormat> ChatFormatOf(const TrainOptions& options, const Tokenizer& tokenizer);

}  // namespace octet
