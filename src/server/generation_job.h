// One request for text, from the client's wish to the last byte.
#pragma once

#include <memory>

#include "server/answer.h"
#include "server/generation_request.h"
#include "server/host.h"
#include "server/http_types.h"

namespace octet {

/// Submits every choice to the engine and answers as tokens come: all or nothing is taken. When the
/// client goes away, what runs is cancelled.
void StartGeneration(Host& host, std::shared_ptr<Exchange> exchange, GenerationRequest request,
                     std::unique_ptr<AnswerForm> form);

/// The engine's request for a conversation or a prompt, without its options.
ApiResult<Request> RenderMessages(const Host& host, const GenerationRequest& request);
ApiResult<Request> RenderPrompt(const Host& host, const PromptText& prompt);

}  // namespace octet
