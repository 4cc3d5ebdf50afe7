// Text ↔ token ids. One interface over a SentencePiece model, a tokenizer.json and a GGUF
// vocabulary; all three of the same vocabulary give the same ids. Formats:
// docs/formats/tokenizer.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace octet {

enum class TokenKind : uint8_t { kNormal, kUnknown, kControl, kUserDefined, kUnused, kByte };

/// A vocabulary as data, whatever file it came from; what a GGUF stores and converters carry over.
struct Vocabulary {
  struct Token {
    std::string piece;  // with ▁ for a space; "<0x0A>" for a byte
    float score = 0;    // SentencePiece: higher merges first
    TokenKind kind = TokenKind::kNormal;
  };
  std::vector<Token> tokens;
  int32_t bos = 1, eos = 2, unk = 0, pad = -1;  // -1: none
  std::vector<int32_t> extra_eos;               // further ids that end a text, beside `eos`
  bool add_dummy_prefix = true;                 // the leading-space rule
  bool remove_extra_whitespaces = false;        // runs of spaces become one, none at the ends
  bool add_bos = true;                          // a plain prompt starts with BOS
  /// False for a tokenizer.json whose merges no scores can express: then only that file gives its
  /// ids, and a GGUF or tokenizer.model made of this vocabulary differs on some texts.
  bool scores_are_exact = true;
  std::string unk_surface = " \xE2\x81\x87 ";  // what Decode writes for `unk`
  std::string chat_template;                   // Jinja source, empty when the source had none
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual const Vocabulary& vocabulary() const = 0;
  int32_t vocab_size() const { return static_cast<int32_t>(vocabulary().tokens.size()); }

  /// Ids of plain text, without BOS. User text never yields control tokens: "</s>" is five
  /// characters. Invalid UTF-8 is encoded byte by byte, so that every input has ids. Safe to call
  /// from several threads.
  virtual std::vector<int32_t> Encode(std::string_view text) const = 0;
  /// Text of ids as SentencePiece decodes them: the dummy prefix's space dropped, control tokens
  /// and ids out of range empty, bytes that make no character U+FFFD.
  virtual std::string Decode(std::span<const int32_t> ids) const = 0;
  /// The bytes one token adds to running text: "▁the" → " the", "<0x0A>" → "\n", control tokens →
  /// "". Empty for ids out of range.
  virtual std::string_view TokenBytes(int32_t id) const = 0;
};

/// From the content of a SentencePiece `tokenizer.model`. Errors: kCorrupt; kUnsupported for models
/// that are not BPE or that rewrite their text (a normalisation other than identity).
Result<std::unique_ptr<Tokenizer>> TokenizerFromSentencePiece(std::string_view model_proto,
                                                              std::string_view where);
/// From the content of a Hugging Face `tokenizer.json` (BPE with merges and byte fallback).
Result<std::unique_ptr<Tokenizer>> TokenizerFromJson(std::string_view json, std::string_view where);
/// From a vocabulary (GGUF).
Result<std::unique_ptr<Tokenizer>> TokenizerFromVocabulary(Vocabulary vocabulary,
                                                           std::string_view where);

/// The tokenizer that belongs to a model path: tokenizer.model, else tokenizer.json of a folder
/// (special tokens and chat template from tokenizer_config.json where present), the vocabulary of a
/// GGUF, or such a file itself. kNotFound lists what was looked for.
Result<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::filesystem::path& model_path);

/// The vocabulary as a SentencePiece `tokenizer.model`, for folders written from a GGUF.
std::string SentencePieceModel(const Vocabulary& vocabulary);

}  // namespace octet
