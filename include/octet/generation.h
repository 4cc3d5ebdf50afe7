// What one continuation of a prompt reports. Part of the public facade.
#pragma once

#include <string_view>

namespace octet {

enum class FinishReason {
  kStop,       // an end-of-sequence token, a stop token or a stop string
  kLength,     // as many tokens as were asked for
  kContext,    // the context is full
  kCancelled,  // stopped on request
  kDeadline,   // nobody waits any longer
  kError,      // the model gave no finite logit: broken weights, or every token banned
};

/// "stop", "length", "context", "cancelled", "deadline", "error".
std::string_view FinishReasonName(FinishReason reason);

}  // namespace octet
