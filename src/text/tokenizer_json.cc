#include "text/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "io/json.h"
#include "text/sentencepiece_tokenizer.h"
#include "text/vocabulary.h"

namespace octet {
namespace {

/// Ids may leave gaps, but a file's numbers must not make the vocabulary much larger than the file.
constexpr size_t kMaxGaps = 4096;

/// What a normaliser or pre-tokeniser does, as far as it is SentencePiece's work.
struct Spaces {
  bool prefix = false;  // ▁ is put before the text
  bool escape = false;  // spaces become ▁
  bool split = false;   // pieces never cross a ▁
};

Status ReadSpaceStep(const Json& step, std::string_view where, Spaces& spaces) {
  const std::string type = StringOr(step, "type", "");
  if (type == "Sequence") {
    for (const char* key : {"normalizers", "pretokenizers"}) {
      const Json* parts = Get(step, key);
      if (parts == nullptr || !parts->is_array()) continue;
      for (const Json& part : *parts) {
        if (StringOr(part, "type", "") == "Sequence") {
          return Err(ErrorCode::kUnsupported, "{}: a Sequence inside a Sequence", where);
        }
        OCTET_TRY(ReadSpaceStep(part, where, spaces));
      }
    }
    return {};
  }
  if (type == "Prepend" && StringOr(step, "prepend", "") == kSpaceSymbol) {
    spaces.prefix = true;
    return {};
  }
  const Json* pattern = Get(step, "pattern");
  if (type == "Replace" && pattern != nullptr && StringOr(*pattern, "String", "") == " " &&
      StringOr(step, "content", "") == kSpaceSymbol) {
    spaces.escape = true;
    return {};
  }
  if (type == "Metaspace" && StringOr(step, "replacement", kSpaceSymbol) == kSpaceSymbol) {
    const bool add = BoolOr(step, "add_prefix_space", true);
    spaces.prefix = StringOr(step, "prepend_scheme", add ? "always" : "never") != "never";
    spaces.escape = true;
    spaces.split = BoolOr(step, "split", true);
    return {};
  }
  return Err(ErrorCode::kUnsupported,
             "{}: the tokenizer's step '{}' is not supported; only tokenizers of SentencePiece's "
             "kind are (Prepend or Metaspace with ▁), as those of the Mistral and Llama models. If "
             "the model has a tokenizer.model, use that",
             where, type);
}

Result<Spaces> ReadSpaces(const Json& root, std::string_view where) {
  Spaces spaces;
  for (const char* key : {"normalizer", "pre_tokenizer"}) {
    if (const Json* step = Get(root, key)) OCTET_TRY(ReadSpaceStep(*step, where, spaces));
  }
  if (!spaces.escape) {
    return Err(ErrorCode::kUnsupported,
               "{}: nothing in the tokenizer turns spaces into ▁, so it is not of SentencePiece's "
               "kind, the only one supported",
               where);
  }
  return spaces;
}

Status ReadVocab(const Json& model, std::string_view where, Vocabulary& vocabulary) {
  const Json* vocab = Get(model, "vocab");
  if (vocab == nullptr || !vocab->is_object()) {
    return Err(ErrorCode::kCorrupt, "{}: model.vocab is not an object of piece: id", where);
  }
  const bool byte_fallback = BoolOr(model, "byte_fallback", false);
  const std::string unknown = StringOr(model, "unk_token", "");
  vocabulary.tokens.resize(vocab->size());
  std::vector<uint8_t> seen(vocab->size());
  vocabulary.unk = -1;
  for (const auto& [piece, value] : vocab->items()) {
    const int64_t id = value.is_number_integer() ? value.get<int64_t>() : -1;
    if (id >= static_cast<int64_t>(vocab->size() + kMaxGaps) || id < 0) {
      return Err(ErrorCode::kCorrupt, "{}: the id of '{}' is {}, but the vocabulary has {} pieces",
                 where, piece, value.dump(), vocab->size());
    }
    const auto at = static_cast<size_t>(id);
    if (at >= seen.size()) {
      seen.resize(at + 1);
      vocabulary.tokens.resize(at + 1);
    }
    if (seen[at]++ != 0) {
      return Err(ErrorCode::kCorrupt, "{}: '{}' and '{}' have the same id {}", where, piece,
                 vocabulary.tokens[at].piece, id);
    }
    Vocabulary::Token& token = vocabulary.tokens[at];
    token.piece = piece;
    if (byte_fallback && ByteOfPiece(piece)) token.kind = TokenKind::kByte;
    if (!unknown.empty() && piece == unknown) {
      token.kind = TokenKind::kUnknown;
      vocabulary.unk = static_cast<int32_t>(at);
    }
  }
  for (size_t id = 0; id < seen.size(); ++id) {
    if (seen[id] == 0) vocabulary.tokens[id] = {fmt::format("<gap{}>", id), 0, TokenKind::kUnused};
  }
  return {};
}

/// "left right", or ["left", "right"] in newer files.
std::pair<std::string, std::string> SplitMerge(const Json& merge) {
  if (merge.is_string()) {
    const auto& text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string::npos) return {text.substr(0, space), text.substr(space + 1)};
  }
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  return {};
}

Result<std::vector<Merge>> ReadMerges(const Json& model, const Vocabulary& vocabulary,
                                      std::string_view where) {
  const Json* list = Get(model, "merges");
  if (list == nullptr || !list->is_array()) {
    return Err(ErrorCode::kCorrupt, "{}: model.merges is not an array", where);
  }
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    ids.emplace(vocabulary.tokens[id].piece, static_cast<int32_t>(id));
  }
  std::vector<Merge> merges;
  merges.reserve(list->size());
  for (const Json& entry : *list) {
    const auto [left, right] = SplitMerge(entry);
    const auto a = ids.find(left), b = ids.find(right), both = ids.find(left + right);
    if (a == ids.end() || b == ids.end() || both == ids.end()) {
      return Err(ErrorCode::kCorrupt,
                 "{}: merge {} ('{}' '{}') needs both parts and their union in the vocabulary",
                 where, merges.size(), left, right);
    }
    merges.push_back({a->second, b->second, both->second});
  }
  return merges;
}

/// The scores SentencePiece would have given: 0, -1, … in the order in which pieces first appear
/// among the merges, then the pieces that no merge makes, in id order.
void ScoreByMerges(const std::vector<Merge>& merges, Vocabulary& vocabulary) {
  std::vector<uint8_t> scored(vocabulary.tokens.size());
  int32_t next = 0;
  for (const Merge& merge : merges) {
    if (scored[merge.merged]++ == 0) {
      vocabulary.tokens[merge.merged].score = static_cast<float>(next--);
    }
  }
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    Vocabulary::Token& token = vocabulary.tokens[id];
    if (scored[id] == 0 && token.kind == TokenKind::kNormal) {
      token.score = static_cast<float>(next--);
    }
  }
}

/// The special token that a post-processor (one, or a sequence of them) puts before a single text;
/// empty when it puts none.
std::string LeadingToken(const Json& processor) {
  if (const Json* parts = Get(processor, "processors")) {
    for (const Json& part : *parts) {
      if (std::string piece = LeadingToken(part); !piece.empty()) return piece;
    }
  }
  const Json* single = Get(processor, "single");
  if (single == nullptr || !single->is_array() || single->empty()) return {};
  const Json* special = Get(single->front(), "SpecialToken");
  return special == nullptr ? std::string() : StringOr(*special, "id", "");
}

Status CheckModel(const Json& root, const Json& model, std::string_view where) {
  const std::string type = StringOr(model, "type", "BPE");
  if (type != "BPE") {
    return Err(ErrorCode::kUnsupported, "{}: a tokenizer of type {}; only BPE is supported", where,
               type);
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!StringOr(model, key, "").empty()) {
      return Err(ErrorCode::kUnsupported, "{}: BPE with {} is not supported", where, key);
    }
  }
  if (const Json* decoder = Get(root, "decoder")) {
    if (StringOr(*decoder, "type", "") == "ByteLevel") {
      return Err(ErrorCode::kUnsupported,
                 "{}: a byte-level BPE tokenizer (GPT-2's kind); only SentencePiece's kind is "
                 "supported",
                 where);
    }
  }
  return {};
}

bool HasInnerSpace(const Vocabulary& vocabulary) {
  return std::any_of(vocabulary.tokens.begin(), vocabulary.tokens.end(), [](const auto& token) {
    return token.kind == TokenKind::kNormal &&
           token.piece.find(kSpaceSymbol, 1) != std::string::npos;
  });
}

}  // namespace

Result<std::vector<AddedToken>> ReadAddedTokens(const Json& array, std::string_view where) {
  std::vector<AddedToken> added;
  if (array.is_null()) return added;
  if (!array.is_array()) return Err(ErrorCode::kCorrupt, "{}: added_tokens is not an array", where);
  for (const Json& entry : array) {
    const Json* id = Get(entry, "id");
    AddedToken token{-1, StringOr(entry, "content", ""), BoolOr(entry, "special", false)};
    if (id != nullptr && id->is_number_integer()) token.id = id->get<int64_t>();
    if (token.id < 0 || token.content.empty()) {
      return Err(ErrorCode::kCorrupt, "{}: added token {} lacks an id or its content", where,
                 added.size());
    }
    added.push_back(std::move(token));
  }
  return added;
}

Status ApplyAddedTokens(const std::vector<AddedToken>& added, size_t keep_below,
                        std::string_view where, Vocabulary& vocabulary) {
  for (const AddedToken& token : added) {
    const auto limit = static_cast<int64_t>(vocabulary.tokens.size() + added.size() + kMaxGaps);
    if (token.id < 0 || token.id >= limit) {
      return Err(ErrorCode::kCorrupt, "{}: the added token '{}' has id {}, but there are {} tokens",
                 where, token.content, token.id, vocabulary.tokens.size());
    }
    const auto at = static_cast<size_t>(token.id);
    for (size_t id = vocabulary.tokens.size(); id <= at; ++id) {
      vocabulary.tokens.push_back({fmt::format("<gap{}>", id), 0, TokenKind::kUnused});
    }
    Vocabulary::Token& place = vocabulary.tokens[at];
    if (at < keep_below && place.piece != token.content) continue;
    place.piece = token.content;
    if (place.kind == TokenKind::kUnknown || place.kind == TokenKind::kByte) continue;
    if (place.kind == TokenKind::kControl && at < keep_below) continue;
    place.kind = token.special ? TokenKind::kControl : TokenKind::kUserDefined;
    place.score = 0;
  }
  return {};
}

Result<TokenizerJson> ParseTokenizerJson(std::string_view text, std::string_view where) {
  OCTET_ASSIGN(const Json root, ParseJson(text, where));
  const Json* model = Get(root, "model");
  if (model == nullptr) {
    return Err(ErrorCode::kCorrupt, "{}: no 'model'; this is not a tokenizer.json", where);
  }
  OCTET_TRY(CheckModel(root, *model, where));
  OCTET_ASSIGN(const Spaces spaces, ReadSpaces(root, where));
  TokenizerJson parsed;
  Vocabulary& vocabulary = parsed.vocabulary;
  OCTET_TRY(ReadVocab(*model, where, vocabulary));
  OCTET_ASSIGN(parsed.merges, ReadMerges(*model, vocabulary, where));
  OCTET_ASSIGN(const auto added, ReadAddedTokens(root.value("added_tokens", Json()), where));
  OCTET_TRY(ApplyAddedTokens(added, 0, where, vocabulary));
  if (spaces.split && HasInnerSpace(vocabulary)) {
    return Err(ErrorCode::kUnsupported,
               "{}: Metaspace with split, and pieces that cross spaces, is not supported", where);
  }
  vocabulary.add_dummy_prefix = spaces.prefix;
  const Json* processor = Get(root, "post_processor");
  const std::string leading = processor == nullptr ? std::string() : LeadingToken(*processor);
  vocabulary.bos = FindControl(vocabulary, leading.empty() ? "<s>" : leading);
  vocabulary.eos = FindControl(vocabulary, "</s>");
  vocabulary.add_bos = vocabulary.bos >= 0 && !leading.empty();
  ScoreByMerges(parsed.merges, vocabulary);
  return parsed;
}

Result<std::unique_ptr<Tokenizer>> MakeTokenizer(TokenizerJson parsed, std::string_view where) {
  OCTET_TRY(FinishVocabulary(parsed.vocabulary, where));
  parsed.vocabulary.scores_are_exact = ScoresCanExpress(parsed.vocabulary, parsed.merges);
  if (parsed.vocabulary.scores_are_exact) {
    return MakeSentencePieceTokenizer(std::move(parsed.vocabulary), where);
  }
  return MakeMergeTokenizer(std::move(parsed.vocabulary), parsed.merges);
}

Result<std::unique_ptr<Tokenizer>> TokenizerFromJson(std::string_view json,
                                                     std::string_view where) {
  OCTET_ASSIGN(TokenizerJson parsed, ParseTokenizerJson(json, where));
  return MakeTokenizer(std::move(parsed), where);
}

}  // namespace octet
