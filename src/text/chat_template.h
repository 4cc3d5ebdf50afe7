// Conversations as token ids. Markers are inserted as ids where the vocabulary has them, and user
// text never yields a control token. Every format token by token: docs/formats/chat.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "octet/chat.h"
#include "text/tokenizer.h"

namespace octet {

enum class ChatFormat { kRaw, kMistralV1, kMistralV3, kLlama2, kChatMl, kZephyr };

inline constexpr ChatFormat kChatFormats[] = {ChatFormat::kRaw,       ChatFormat::kMistralV1,
                                              ChatFormat::kMistralV3, ChatFormat::kLlama2,
                                              ChatFormat::kChatMl,    ChatFormat::kZephyr};

std::string_view ChatFormatName(ChatFormat format);  // "mistral-v1"
std::optional<ChatFormat> ChatFormatFromName(std::string_view name);
/// By the marks of a Jinja template ("[INST]", "<|im_start|>", …); kRaw for an empty or unknown
/// one.
ChatFormat RecogniseChatFormat(std::string_view jinja_template);
/// The same for a model: a vocabulary with [INST] as a token of its own is Mistral's third.
ChatFormat RecogniseChatFormat(const Vocabulary& vocabulary);
/// The format as other programs read it (Hugging Face's chat_template), recognised as itself;
/// empty for kRaw. It gives the text of ids that RenderChat would give.
std::string JinjaTemplateOf(ChatFormat format);
/// What a model learns chats in that has no format yet: with [INST] as a token of its own Mistral's
/// third, else its first.
ChatFormat DefaultChatFormat(const Vocabulary& vocabulary);

struct RenderedChat {
  std::vector<int32_t> ids;               // BOS included
  std::vector<uint8_t> is_assistant;      // [ids]: 1 where a model is trained to produce the token
  std::vector<std::string> stop_strings;  // beside EOS
  std::vector<int32_t> stop_ids;          // beside EOS
};

struct ChatOptions {
  /// The last message is the assistant's and unfinished: it is left open, without its EOS, for the
  /// model to go on.
  bool continue_last = false;
};

/// The conversation, ready for the assistant to continue when the last message is not its own.
/// kInvalidArgument for an empty conversation, an unknown role, or roles a format cannot express,
/// naming the message by its index from 0.
Result<RenderedChat> RenderChat(ChatFormat format, std::span<const ChatMessage> messages,
                                const Tokenizer& tokenizer, ChatOptions options = {});

}  // namespace octet
