// What every tokenizer shares: the vocabulary and the way back from ids to text.
#pragma once

#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace octet {

class VocabularyTokenizer : public Tokenizer {
 public:
  /// `vocabulary` has been through FinishVocabulary.
  explicit VocabularyTokenizer(Vocabulary vocabulary);

  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::string Decode(std::span<const int32_t> ids) const override;
  std::string_view TokenBytes(int32_t id) const override;

 private:
  Vocabulary vocabulary_;
  std::vector<std::string> token_bytes_;  // [vocab]
};

}  // namespace octet
