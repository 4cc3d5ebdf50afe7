#include "text/gguf_vocabulary.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "text/vocabulary.h"

namespace octet {
namespace {

/// tokenizer.ggml.token_type from 1 on (0 is undefined).
constexpr std::array<TokenKind, 6> kKindOfType = {TokenKind::kNormal,  TokenKind::kUnknown,
                                                  TokenKind::kControl, TokenKind::kUserDefined,
                                                  TokenKind::kUnused,  TokenKind::kByte};

int32_t SpecialId(const GgufMetadata& metadata, std::string_view key, int32_t fallback) {
  const auto id = metadata.Uint(key);
  if (!id) return fallback;
  // Writers mark "none" by the largest 32-bit number.
  return *id > INT32_MAX ? -1 : static_cast<int32_t>(*id);
}

Status CheckModel(const GgufMetadata& metadata, std::string_view where) {
  const std::string* model = metadata.String("tokenizer.ggml.model");
  if (model == nullptr || *model == "no_vocab" || *model == "none") {
    return Err(ErrorCode::kNotFound, "{}: the file has no vocabulary (tokenizer.ggml.model)",
               where);
  }
  if (*model != "llama") {
    return Err(ErrorCode::kUnsupported,
               "{}: a vocabulary of kind '{}'; only 'llama' (SentencePiece BPE), that of the "
               "Mistral and Llama 2 models, is supported",
               where, *model);
  }
  return {};
}

Status ReadKinds(const GgufMetadata& metadata, std::string_view where, Vocabulary& vocabulary) {
  const std::vector<int64_t>* types = metadata.Ints("tokenizer.ggml.token_type");
  auto& tokens = vocabulary.tokens;
  if (types == nullptr) {  // the first writers had none
    for (auto& token : tokens) {
      if (ByteOfPiece(token.piece)) token.kind = TokenKind::kByte;
    }
    const auto set = [&tokens](int32_t id, TokenKind kind) {
      if (id >= 0 && id < static_cast<int64_t>(tokens.size())) tokens[id].kind = kind;
    };
    set(vocabulary.unk, TokenKind::kUnknown);
    set(vocabulary.bos, TokenKind::kControl);
    set(vocabulary.eos, TokenKind::kControl);
    return {};
  }
  if (types->size() != tokens.size()) {
    return Err(ErrorCode::kCorrupt, "{}: {} token types for {} tokens", where, types->size(),
               tokens.size());
  }
  for (size_t id = 0; id < tokens.size(); ++id) {
    const int64_t type = (*types)[id];
    if (type < 0 || type > static_cast<int64_t>(kKindOfType.size())) {
      return Err(ErrorCode::kCorrupt, "{}: token {} has type {}, expected 0 to 6", where, id, type);
    }
    tokens[id].kind = type == 0 ? TokenKind::kNormal : kKindOfType[type - 1];
  }
  return {};
}

}  // namespace

Result<Vocabulary> VocabularyFromGguf(const GgufMetadata& metadata, std::string_view where) {
  OCTET_TRY(CheckModel(metadata, where));
  const auto* pieces = metadata.Strings("tokenizer.ggml.tokens");
  const auto* scores = metadata.Floats("tokenizer.ggml.scores");
  if (pieces == nullptr || scores == nullptr || scores->size() != pieces->size()) {
    return Err(ErrorCode::kCorrupt,
               "{}: tokenizer.ggml.tokens has {} entries and tokenizer.ggml.scores {}; both must "
               "be there and equally long",
               where, pieces == nullptr ? 0 : pieces->size(),
               scores == nullptr ? 0 : scores->size());
  }
  Vocabulary vocabulary;
  vocabulary.tokens.resize(pieces->size());
  for (size_t id = 0; id < pieces->size(); ++id) {
    vocabulary.tokens[id].piece = (*pieces)[id];
    vocabulary.tokens[id].score = static_cast<float>((*scores)[id]);
  }
  vocabulary.bos = SpecialId(metadata, "tokenizer.ggml.bos_token_id", 1);
  vocabulary.eos = SpecialId(metadata, "tokenizer.ggml.eos_token_id", 2);
  vocabulary.unk = SpecialId(metadata, "tokenizer.ggml.unknown_token_id", 0);
  vocabulary.pad = SpecialId(metadata, "tokenizer.ggml.padding_token_id", -1);
  const int32_t end_of_turn = SpecialId(metadata, "tokenizer.ggml.eot_token_id", -1);
  if (end_of_turn >= 0 && end_of_turn != vocabulary.eos) {
    vocabulary.extra_eos.push_back(end_of_turn);
  }
  vocabulary.add_bos =
      metadata.Bool("tokenizer.ggml.add_bos_token").value_or(true) && vocabulary.bos >= 0;
  vocabulary.add_dummy_prefix = metadata.Bool("tokenizer.ggml.add_space_prefix").value_or(true);
  vocabulary.remove_extra_whitespaces =
      metadata.Bool("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
  if (const auto* chat = metadata.String("tokenizer.chat_template"))
    vocabulary.chat_template = *chat;
  OCTET_TRY(ReadKinds(metadata, where, vocabulary));
  return vocabulary;
}

}  // namespace octet
