// The engine behind every source whose ids scores can express: the sentencepiece library.
#pragma once

#include <memory>
#include <string_view>

#include "text/tokenizer.h"

namespace octet {

/// `vocabulary` has been through FinishVocabulary. Errors: kUnsupported, kCorrupt when the library
/// refuses it.
Result<std::unique_ptr<Tokenizer>> MakeSentencePieceTokenizer(Vocabulary vocabulary,
                                                              std::string_view where);

}  // namespace octet
