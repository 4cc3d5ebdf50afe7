// A conversation. Part of the public facade.
#pragma once

#include <string>

namespace octet {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

}  // namespace octet
