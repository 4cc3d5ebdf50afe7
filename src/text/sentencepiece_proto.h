// SentencePiece's ModelProto (protobuf wire format), read and written by hand: only the fields that
// decide ids and text. Format: docs/formats/tokenizer.md.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace octet {

/// Errors: kCorrupt for bytes that are no ModelProto; kUnsupported for models that are not BPE or
/// that rewrite their text. The result still has to go through FinishVocabulary.
Result<Vocabulary> ParseSentencePieceModel(std::string_view bytes, std::string_view where);

/// What the library is given for one vocabulary. Pieces that a merge or a lookup must never reach
/// have a name that no text contains, and it may end with an <unk> the vocabulary lacks.
std::string EngineModel(const Vocabulary& vocabulary);

}  // namespace octet
