// BPE by a list of merges, for a tokenizer.json whose merges no scores can express.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "text/tokenizer.h"

namespace octet {

/// "left right" becomes `merged`; its place in the list is its rank, low ranks first.
struct Merge {
  int32_t left = 0, right = 0, merged = 0;  // ids
};

/// Whether scores by rank give the same ids as the list: every pair of pieces that spells a piece
/// is in the list, and the pairs that spell one piece stand together. True of every list that was
/// made from a SentencePiece model.
bool ScoresCanExpress(const Vocabulary& vocabulary, const std::vector<Merge>& merges);

/// `vocabulary` has been through FinishVocabulary, and the ids are in its range. The same rules as
/// SentencePiece for spaces, user-defined tokens and unknown characters.
std::unique_ptr<Tokenizer> MakeMergeTokenizer(Vocabulary vocabulary,
                                              const std::vector<Merge>& merges);

}  // namespace octet
