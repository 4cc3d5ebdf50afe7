// Rules that hold for a vocabulary whatever file it came from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace octet {

inline constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";  // ▁, U+2581

/// The byte that "<0x0A>" names (two upper-case digits); nullopt for any other piece.
std::optional<uint8_t> ByteOfPiece(std::string_view piece);
std::string PieceOfByte(uint8_t byte);
/// Every space as ▁: the form in which texts and user-defined pieces meet.
std::string WithSpaceSymbols(std::string_view text);

/// The first token of that piece; -1 when there is none.
int32_t FindPiece(const Vocabulary& vocabulary, std::string_view piece);
/// The first *control* token of that piece; -1 when there is none.
int32_t FindControl(const Vocabulary& vocabulary, std::string_view piece);

/// Makes a vocabulary read from a file safe to use: special ids in range, pieces valid UTF-8,
/// scores numbers, and every marker of a chat format that the file lists as text (some converters
/// do) a control token, so that user text cannot spell it. Errors: kCorrupt, naming the token.
Status FinishVocabulary(Vocabulary& vocabulary, std::string_view where);

/// All bytes as ids, when the vocabulary has all 256 (byte fallback).
std::optional<std::vector<int32_t>> ByteTokens(const Vocabulary& vocabulary);

}  // namespace octet
