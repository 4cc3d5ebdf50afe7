#include "text/sentencepiece_proto.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_set>

#include "base/file.h"
#include "text/vocabulary.h"

namespace octet {
namespace {

// Field numbers of sentencepiece_model.proto (SentencePiece 0.1.97).
namespace field {
constexpr uint32_t kPieces = 1, kTrainer = 2, kNormalizer = 3, kDenormalizer = 5;
constexpr uint32_t kPiece = 1, kScore = 2, kType = 3;
constexpr uint32_t kModelType = 3, kSpaceAsSuffix = 24, kByteFallback = 35;
constexpr uint32_t kUnkId = 40, kBosId = 41, kEosId = 42, kPadId = 43;
constexpr uint32_t kUnkSurface = 44, kUnkPiece = 45, kBosPiece = 46, kEosPiece = 47, kPadPiece = 48;
constexpr uint32_t kName = 1, kCharsMap = 2, kAddDummyPrefix = 3, kRemoveExtraSpaces = 4,
                   kEscapeSpaces = 5;
}  // namespace field

constexpr uint64_t kBpe = 2;  // TrainerSpec.ModelType
enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

/// ModelProto.SentencePiece.Type from 1 on.
constexpr TokenKind kKindOfType[] = {TokenKind::kNormal,  TokenKind::kUnknown,
                                     TokenKind::kControl, TokenKind::kUserDefined,
                                     TokenKind::kUnused,  TokenKind::kByte};

uint64_t TypeOfKind(TokenKind kind) {
  return std::find(std::begin(kKindOfType), std::end(kKindOfType), kind) - kKindOfType + 1;
}

struct Field {
  uint32_t number = 0;
  uint64_t scalar = 0;     // varint, fixed32 and fixed64
  std::string_view bytes;  // length-delimited
};

/// The fields of one message, in order.
class WireReader {
 public:
  WireReader(std::string_view bytes, std::string_view where)
      : reader_(std::as_bytes(std::span(bytes)), where), where_(where) {}

  bool AtEnd() const { return reader_.remaining() == 0; }

  Result<Field> Next() {
    OCTET_ASSIGN(const uint64_t tag, Varint());
    Field field;
    field.number = static_cast<uint32_t>(tag >> 3);
    if (tag >> 32 != 0 || field.number == 0) return Bad();
    switch (tag & 7) {
      case kVarint: {
        OCTET_ASSIGN(field.scalar, Varint());
        return field;
      }
      case kFixed64: {
        OCTET_ASSIGN(field.scalar, reader_.Read<uint64_t>("a protobuf field"));
        return field;
      }
      case kBytes: {
        OCTET_ASSIGN(const uint64_t size, Varint());
        OCTET_ASSIGN(const auto raw, reader_.Take(size, "a protobuf field"));
        field.bytes = {reinterpret_cast<const char*>(raw.data()), raw.size()};
        return field;
      }
      case kFixed32: {
        OCTET_ASSIGN(field.scalar, reader_.Read<uint32_t>("a protobuf field"));
        return field;
      }
      default:
        return Bad();
    }
  }

 private:
  tl::unexpected<Error> Bad() const {
    return Err(ErrorCode::kCorrupt,
               "{}: not a SentencePiece model: no protobuf field at byte {} (is it an unfinished "
               "download, or a Git LFS pointer?)",
               where_, reader_.offset());
  }

  Result<uint64_t> Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      OCTET_ASSIGN(const uint8_t byte, reader_.Read<uint8_t>("a protobuf number"));
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    return Bad();
  }

  ByteReader reader_;
  std::string_view where_;
};

/// What is read besides the vocabulary, to decide whether the model can be used.
struct Traits {
  uint64_t model_type = 1;  // protobuf default: unigram
  bool space_as_suffix = false, escape_spaces = true;
  bool has_chars_map = false;
};

Result<Vocabulary::Token> ReadPiece(std::string_view bytes, std::string_view where) {
  Vocabulary::Token token;
  WireReader reader(bytes, where);
  while (!reader.AtEnd()) {
    OCTET_ASSIGN(const Field field, reader.Next());
    if (field.number == field::kPiece) token.piece = field.bytes;
    if (field.number == field::kScore) {
      token.score = std::bit_cast<float>(static_cast<uint32_t>(field.scalar));
    }
    if (field.number == field::kType) {
      if (field.scalar < 1 || field.scalar > std::size(kKindOfType)) {
        return Err(ErrorCode::kCorrupt, "{}: piece '{}' has type {}, expected 1 to 6", where,
                   token.piece, field.scalar);
      }
      token.kind = kKindOfType[field.scalar - 1];
    }
  }
  return token;
}

/// An id of the trainer's options: -1 says that there is none.
int32_t SpecialId(uint64_t varint) {
  const auto value = static_cast<int64_t>(varint);
  return value < 0 || value > INT32_MAX ? -1 : static_cast<int32_t>(value);
}

struct SpecialPieces {
  std::string bos = "<s>", eos = "</s>", pad = "<pad>";
};

Status ReadTrainer(std::string_view bytes, std::string_view where, Vocabulary& vocabulary,
                   Traits& traits, SpecialPieces& special) {
  WireReader reader(bytes, where);
  while (!reader.AtEnd()) {
    OCTET_ASSIGN(const Field field, reader.Next());
    switch (field.number) {
      case field::kModelType:
        traits.model_type = field.scalar;
        break;
      case field::kSpaceAsSuffix:
        traits.space_as_suffix = field.scalar != 0;
        break;
      case field::kUnkSurface:
        vocabulary.unk_surface = field.bytes;
        break;
      case field::kBosId:
        vocabulary.bos = SpecialId(field.scalar);
        break;
      case field::kEosId:
        vocabulary.eos = SpecialId(field.scalar);
        break;
      case field::kPadId:
        vocabulary.pad = SpecialId(field.scalar);
        break;
      case field::kBosPiece:
        special.bos = field.bytes;
        break;
      case field::kEosPiece:
        special.eos = field.bytes;
        break;
      case field::kPadPiece:
        special.pad = field.bytes;
        break;
      default:
        break;
    }
  }
  return {};
}

Status ReadNormalizer(std::string_view bytes, std::string_view where, Vocabulary& vocabulary,
                      Traits& traits) {
  WireReader reader(bytes, where);
  while (!reader.AtEnd()) {
    OCTET_ASSIGN(const Field field, reader.Next());
    switch (field.number) {
      case field::kCharsMap:
        traits.has_chars_map = !field.bytes.empty();
        break;
      case field::kAddDummyPrefix:
        vocabulary.add_dummy_prefix = field.scalar != 0;
        break;
      case field::kRemoveExtraSpaces:
        vocabulary.remove_extra_whitespaces = field.scalar != 0;
        break;
      case field::kEscapeSpaces:
        traits.escape_spaces = field.scalar != 0;
        break;
      default:
        break;
    }
  }
  return {};
}

Status CheckTraits(const Traits& traits, std::string_view where) {
  if (traits.model_type != kBpe) {
    return Err(
        ErrorCode::kUnsupported,
        "{}: a SentencePiece model of type {} (1 unigram, 3 word, 4 char); only BPE (2), the "
        "type of the Mistral and Llama models, is supported",
        where, traits.model_type);
  }
  if (traits.has_chars_map) {
    return Err(ErrorCode::kUnsupported,
               "{}: the SentencePiece model rewrites its text (a normalization rule such as "
               "nmt_nfkc); only the rule 'identity' is supported",
               where);
  }
  if (traits.space_as_suffix || !traits.escape_spaces) {
    return Err(ErrorCode::kUnsupported,
               "{}: the SentencePiece model was trained with {}, which is not supported", where,
               traits.space_as_suffix ? "treat_whitespace_as_suffix" : "escape_whitespaces off");
  }
  return {};
}

/// SentencePiece finds its special tokens by name; the ids of the options are a second opinion.
int32_t ResolveSpecial(const Vocabulary& vocabulary, const std::string& piece, int32_t id) {
  const int32_t by_name = FindControl(vocabulary, piece);
  if (by_name >= 0) return by_name;
  const auto n = static_cast<int64_t>(vocabulary.tokens.size());
  return id < n && id >= 0 && vocabulary.tokens[id].kind == TokenKind::kControl ? id : -1;
}

void ResolveSpecials(Vocabulary& vocabulary, const SpecialPieces& special) {
  vocabulary.bos = ResolveSpecial(vocabulary, special.bos, vocabulary.bos);
  vocabulary.eos = ResolveSpecial(vocabulary, special.eos, vocabulary.eos);
  vocabulary.pad = ResolveSpecial(vocabulary, special.pad, vocabulary.pad);
  vocabulary.unk = -1;
  for (size_t id = 0; id < vocabulary.tokens.size() && vocabulary.unk < 0; ++id) {
    if (vocabulary.tokens[id].kind == TokenKind::kUnknown) vocabulary.unk = static_cast<int>(id);
  }
  if (vocabulary.bos < 0) vocabulary.add_bos = false;
}

class WireWriter {
 public:
  void Varint(uint32_t number, uint64_t value) {
    Number(uint64_t{number} << 3 | kVarint);
    Number(value);
  }
  void Float(uint32_t number, float value) {
    Number(uint64_t{number} << 3 | kFixed32);
    char raw[sizeof(value)];
    std::memcpy(raw, &value, sizeof(value));
    bytes_.append(raw, sizeof(raw));
  }
  void Bytes(uint32_t number, std::string_view value) {
    Number(uint64_t{number} << 3 | kBytes);
    Number(value.size());
    bytes_ += value;
  }
  std::string Take() { return std::move(bytes_); }

 private:
  void Number(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

void WritePiece(WireWriter& model, const Vocabulary::Token& token) {
  WireWriter piece;
  piece.Bytes(field::kPiece, token.piece);
  piece.Float(field::kScore, token.score);
  piece.Varint(field::kType, TypeOfKind(token.kind));
  model.Bytes(field::kPieces, piece.Take());
}

std::string PieceOr(const Vocabulary& vocabulary, int32_t id, const char* fallback) {
  return id < 0 ? fallback : vocabulary.tokens[id].piece;
}

/// The options that follow the pieces.
void WriteOptions(WireWriter& model, const Vocabulary& vocabulary, bool byte_fallback) {
  WireWriter trainer;
  trainer.Varint(field::kModelType, kBpe);
  trainer.Varint(field::kByteFallback, byte_fallback);
  auto id = [](int32_t value) { return static_cast<uint64_t>(int64_t{value}); };
  trainer.Varint(field::kUnkId, id(vocabulary.unk));
  trainer.Varint(field::kBosId, id(vocabulary.bos));
  trainer.Varint(field::kEosId, id(vocabulary.eos));
  trainer.Varint(field::kPadId, id(vocabulary.pad));
  trainer.Bytes(field::kUnkSurface, vocabulary.unk_surface);
  trainer.Bytes(field::kUnkPiece, PieceOr(vocabulary, vocabulary.unk, "<unk>"));
  trainer.Bytes(field::kBosPiece, PieceOr(vocabulary, vocabulary.bos, "<s>"));
  trainer.Bytes(field::kEosPiece, PieceOr(vocabulary, vocabulary.eos, "</s>"));
  trainer.Bytes(field::kPadPiece, PieceOr(vocabulary, vocabulary.pad, "<pad>"));
  model.Bytes(field::kTrainer, trainer.Take());
  WireWriter normalizer;
  normalizer.Bytes(field::kName, "identity");
  normalizer.Varint(field::kAddDummyPrefix, vocabulary.add_dummy_prefix);
  normalizer.Varint(field::kRemoveExtraSpaces, vocabulary.remove_extra_whitespaces);
  normalizer.Varint(field::kEscapeSpaces, 1);
  model.Bytes(field::kNormalizer, normalizer.Take());
}

}  // namespace

Result<Vocabulary> ParseSentencePieceModel(std::string_view bytes, std::string_view where) {
  Vocabulary vocabulary;
  vocabulary.remove_extra_whitespaces = true;  // protobuf default
  Traits traits;
  SpecialPieces special;
  WireReader reader(bytes, where);
  while (!reader.AtEnd()) {
    OCTET_ASSIGN(const Field field, reader.Next());
    if (field.number == field::kPieces) {
      OCTET_ASSIGN(Vocabulary::Token token, ReadPiece(field.bytes, where));
      vocabulary.tokens.push_back(std::move(token));
    } else if (field.number == field::kTrainer) {
      OCTET_TRY(ReadTrainer(field.bytes, where, vocabulary, traits, special));
    } else if (field.number == field::kNormalizer) {
      OCTET_TRY(ReadNormalizer(field.bytes, where, vocabulary, traits));
    } else if (field.number == field::kDenormalizer) {
      Vocabulary ignored;
      OCTET_TRY(ReadNormalizer(field.bytes, where, ignored, traits));
    }
  }
  if (vocabulary.tokens.empty()) {
    return Err(ErrorCode::kCorrupt, "{}: not a SentencePiece model: it has no pieces", where);
  }
  OCTET_TRY(CheckTraits(traits, where));
  ResolveSpecials(vocabulary, special);
  return vocabulary;
}

std::string EngineModel(const Vocabulary& vocabulary) {
  const bool byte_fallback = ByteTokens(vocabulary).has_value();
  bool has_unknown = false;
  std::unordered_set<std::string> seen;
  WireWriter model;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    Vocabulary::Token token = vocabulary.tokens[id];
    if (token.kind == TokenKind::kUserDefined) token.piece = WithSpaceSymbols(token.piece);
    const bool first_unknown = token.kind == TokenKind::kUnknown && !has_unknown;
    has_unknown = has_unknown || first_unknown;
    const bool usable_byte = token.kind == TokenKind::kByte && byte_fallback;
    const bool text = token.kind == TokenKind::kNormal || token.kind == TokenKind::kUnused ||
                      token.kind == TokenKind::kUserDefined;
    const bool reachable = (text && !ByteOfPiece(token.piece)) || usable_byte;
    if (!reachable || token.piece.empty() || !seen.insert(token.piece).second) {
      // 0xFF occurs in no UTF-8, so neither a text nor another piece can name it.
      token.piece = "\xFF" + std::to_string(id);
      token.kind = first_unknown ? TokenKind::kUnknown : TokenKind::kControl;
    }
    WritePiece(model, token);
  }
  if (!has_unknown) WritePiece(model, {"\xFFunk", 0, TokenKind::kUnknown});
  WriteOptions(model, vocabulary, byte_fallback);
  return model.Take();
}

std::string SentencePieceModel(const Vocabulary& vocabulary) {
  WireWriter model;
  for (const Vocabulary::Token& token : vocabulary.tokens) WritePiece(model, token);
  WriteOptions(model, vocabulary, ByteTokens(vocabulary).has_value());
  return model.Take();
}

}  // namespace octet
