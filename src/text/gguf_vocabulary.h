// The vocabulary a GGUF file carries (tokenizer.ggml.*).
#pragma once

#include <string_view>

#include "io/gguf.h"
#include "text/tokenizer.h"

namespace octet {

/// Errors: kNotFound without a vocabulary; kUnsupported for kinds other than "llama"; kCorrupt. The
/// result still has to go through FinishVocabulary.
Result<Vocabulary> VocabularyFromGguf(const GgufMetadata& metadata, std::string_view where);

}  // namespace octet
