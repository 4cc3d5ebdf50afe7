#include "octet/tokenizer.h"

#include <fmt/ranges.h>

#include <utility>

#include "io/gguf.h"
#include "octet/default_model.h"
#include "text/chat_template.h"
#include "text/gguf_vocabulary.h"
#include "text/tokenizer.h"

namespace octet {
namespace {

const char* KindName(TokenKind kind) {
  switch (kind) {
    case TokenKind::kNormal:
      return "normal";
    case TokenKind::kUnknown:
      return "unknown";
    case TokenKind::kControl:
      return "control";
    case TokenKind::kUserDefined:
      return "user_defined";
    case TokenKind::kUnused:
      return "unused";
    case TokenKind::kByte:
      return "byte";
  }
  return "normal";
}

Result<std::unique_ptr<Tokenizer>> DefaultTokenizer() {
  const std::string_view name = DefaultModelName();
  OCTET_ASSIGN(const auto file, ParseGguf(DefaultModelBytes(), name, OpenMode::kHeadersOnly));
  OCTET_ASSIGN(Vocabulary vocabulary, VocabularyFromGguf(file->metadata(), name));
  return TokenizerFromVocabulary(std::move(vocabulary), name);
}

}  // namespace

struct ModelTokenizer::Impl {
  std::unique_ptr<Tokenizer> tokenizer;

  const Vocabulary& vocabulary() const { return tokenizer->vocabulary(); }

  Status CheckId(int32_t id) const {
    if (id >= 0 && id < tokenizer->vocab_size()) return {};
    return Err(ErrorCode::kInvalidArgument, "there is no token {}; the vocabulary has ids 0 to {}",
               id, tokenizer->vocab_size() - 1);
  }
};

ModelTokenizer::ModelTokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ModelTokenizer::ModelTokenizer(ModelTokenizer&&) noexcept = default;
ModelTokenizer& ModelTokenizer::operator=(ModelTokenizer&&) noexcept = default;
ModelTokenizer::~ModelTokenizer() = default;

Result<ModelTokenizer> ModelTokenizer::Load(const std::string& model) {
  auto impl = std::make_unique<Impl>();
  OCTET_ASSIGN(impl->tokenizer, model.empty() ? DefaultTokenizer() : LoadTokenizer(model));
  return ModelTokenizer(std::move(impl));
}

int32_t ModelTokenizer::vocab_size() const { return impl_->tokenizer->vocab_size(); }
int32_t ModelTokenizer::bos() const { return impl_->vocabulary().bos; }
int32_t ModelTokenizer::eos() const { return impl_->vocabulary().eos; }
int32_t ModelTokenizer::unk() const { return impl_->vocabulary().unk; }
bool ModelTokenizer::adds_bos() const { return impl_->vocabulary().add_bos; }

std::vector<int32_t> ModelTokenizer::Encode(std::string_view text, bool with_bos) const {
  std::vector<int32_t> ids = impl_->tokenizer->Encode(text);
  if (with_bos && bos() >= 0) ids.insert(ids.begin(), bos());
  return ids;
}

Result<std::string> ModelTokenizer::Decode(std::span<const int32_t> ids) const {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab_size()) {
      return Err(ErrorCode::kInvalidArgument,
                 "id {} (number {} of {}) is not in the vocabulary, which has ids 0 to {}", ids[i],
                 i + 1, ids.size(), vocab_size() - 1);
    }
  }
  return impl_->tokenizer->Decode(ids);
}

Result<TokenInfo> ModelTokenizer::Token(int32_t id) const {
  OCTET_TRY(impl_->CheckId(id));
  const Vocabulary::Token& token = impl_->vocabulary().tokens[id];
  return TokenInfo{token.piece, KindName(token.kind), token.score};
}

Result<std::string> ModelTokenizer::TokenBytes(int32_t id) const {
  OCTET_TRY(impl_->CheckId(id));
  return std::string(impl_->tokenizer->TokenBytes(id));
}

std::string ModelTokenizer::chat_format() const {
  return std::string(ChatFormatName(RecogniseChatFormat(impl_->vocabulary())));
}

std::vector<std::string> ModelTokenizer::ChatFormats() {
  std::vector<std::string> names;
  for (const ChatFormat format : kChatFormats) names.emplace_back(ChatFormatName(format));
  return names;
}

Result<ChatTokens> ModelTokenizer::RenderChat(std::span<const ChatMessage> messages,
                                              std::string_view format, bool continue_last) const {
  const auto chosen =
      format.empty() ? RecogniseChatFormat(impl_->vocabulary()) : ChatFormatFromName(format);
  if (!chosen) {
    return Err(ErrorCode::kInvalidArgument, "there is no chat format '{}'; there are {}", format,
               fmt::join(ChatFormats(), ", "));
  }
  OCTET_ASSIGN(RenderedChat chat, octet::RenderChat(*chosen, messages, *impl_->tokenizer,
                                                    {.continue_last = continue_last}));
  return ChatTokens{std::string(ChatFormatName(*chosen)), std::move(chat.ids),
                    std::move(chat.is_assistant), std::move(chat.stop_strings),
                    std::move(chat.stop_ids)};
}

}  // namespace octet
