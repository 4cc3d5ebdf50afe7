// What a line of a chat that begins with a slash does.
#pragma once

#include <string_view>

#include "generate_flags.h"
#include "octet/engine.h"

namespace octet::app {

struct ChatTotals {
  int64_t turns = 0;
  int64_t tokens = 0;
  double decode_s = 0;
  GenerateResult last;  // without text and ids
};

struct ChatState {
  LanguageModel& model;
  Conversation& conversation;
  GenerateOptions& options;
  ChatTotals totals;
};

enum class ChatStep {
  kContinue,  // the line is dealt with
  kRetry,     // answer the last message again
  kQuit,
};

/// `line` begins with a slash. Prints on stdout; errors are the caller's to show.
Result<ChatStep> RunChatCommand(std::string_view line, ChatState& state);

}  // namespace octet::app
