// Text ↔ token ids of a model, and conversations as token ids, without loading its weights.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octet/chat.h"
#include "octet/error.h"

namespace octet {

struct TokenInfo {
  std::string piece;  // with ▁ for a space; "<0x0A>" for a byte
  std::string kind;   // "normal", "unknown", "control", "user_defined", "unused" or "byte"
  float score = 0;    // SentencePiece: higher merges first
};

/// A conversation as a model reads it.
struct ChatTokens {
  std::string format;                     // the one used
  std::vector<int32_t> ids;               // BOS included
  std::vector<uint8_t> is_assistant;      // [ids]: 1 where the model is to produce the token
  std::vector<std::string> stop_strings;  // end an answer, beside EOS
  std::vector<int32_t> stop_ids;          // likewise
};

/// What a model's tokenizer.model, tokenizer.json or GGUF vocabulary says. Movable; its const
/// functions may be called from several threads.
class ModelTokenizer {
 public:
  /// `model`: a model folder, a .gguf (any part of a split one), a tokenizer.model or a
  /// tokenizer.json; empty: the model inside the program. Errors: kNotFound, kIo, kCorrupt,
  /// kUnsupported.
  static Result<ModelTokenizer> Load(const std::string& model);

  ModelTokenizer(ModelTokenizer&&) noexcept;
  ModelTokenizer& operator=(ModelTokenizer&&) noexcept;
  ~ModelTokenizer();

  int32_t vocab_size() const;
  int32_t bos() const;    // -1: none; so for the next two
  int32_t eos() const;    // ends a text
  int32_t unk() const;    // what has no other token
  bool adds_bos() const;  // whether a plain prompt of this model starts with BOS

  /// Ids of plain text; any bytes have some. Text never yields control tokens: "</s>" is five
  /// characters. With `with_bos`, BOS is put first where the model has one.
  std::vector<int32_t> Encode(std::string_view text, bool with_bos = false) const;
  /// kInvalidArgument names the place of an id that is out of range.
  Result<std::string> Decode(std::span<const int32_t> ids) const;
  Result<TokenInfo> Token(int32_t id) const;
  /// The bytes a token adds to running text; empty for control tokens.
  Result<std::string> TokenBytes(int32_t id) const;

  /// Of the model's own chat template: one of ChatFormats(), "raw" for a base model.
  std::string chat_format() const;
  /// All formats by name: docs/formats/chat.md.
  static std::vector<std::string> ChatFormats();
  /// The conversation, ready for the assistant's next answer. An empty `format` is the model's own;
  /// `continue_last` leaves the last answer open. kInvalidArgument: an unknown format, or messages
  /// it cannot express, named by their index.
  Result<ChatTokens> RenderChat(std::span<const ChatMessage> messages, std::string_view format = {},
                                bool continue_last = false) const;

 private:
  struct Impl;
  explicit ModelTokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet
