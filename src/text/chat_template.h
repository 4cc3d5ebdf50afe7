// Conversations as token ids. Markers are inserted as ids, user text is encoded on its own and can
// never forge one.
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

enum class ChatFormat { kRaw, kMistralV1, kLlama2, kChatMl, kZephyr };

std::string_view ChatFormatName(ChatFormat format);  // "mistral-v1"
std::optional<ChatFormat> ChatFormatFromName(std::string_view name);
/// By the marks of a Jinja template ("[INST]", "<|im_start|>", …); kRaw for an empty or unknown
/// one.
ChatFormat RecogniseChatFormat(std::string_view jinja_template);

struct RenderedChat {
  std::vector<int32_t> ids;               // BOS included
  std::vector<uint8_t> is_assistant;      // [ids]: 1 where a model is trained to produce the token
  std::vector<std::string> stop_strings;  // beside EOS
  std::vector<int32_t> stop_ids;          // beside EOS
};

/// The conversation, ready for the assistant to continue when the last message is not its own.
/// kInvalidArgument for an empty conversation, an unknown role, or roles a format cannot express.
Result<RenderedChat> RenderChat(ChatFormat format, std::span<const ChatMessage> messages,
                                const Tokenizer& tokenizer);

}  // namespace octet
