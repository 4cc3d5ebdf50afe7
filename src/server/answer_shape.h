// What a client wants its answer to be: formats, grammars, tools.
#pragma once

#include <string_view>

#include "server/generation_request.h"

namespace octet {

enum class Interface { kChat, kCompletions, kMessages, kResponses };

/// Reads, beside what Parse…Request read, the fields that constrain answers, from a body that was
/// parsed before: members of a schema keep their order here. Tools become a part of the system
/// message. What a grammar or schema cannot express is found when the engine compiles it.
ApiResult<void> ReadAnswerShape(std::string_view body, Interface interface,
                                GenerationRequest& request);

}  // namespace octet
