// Answers that need no computing: tokens, templates, the list of models.
#pragma once

#include <nlohmann/json.hpp>

#include "server/host.h"

namespace octet {

/// Anthropic's /v1/messages/count_tokens; `text` is the body as it came.
ApiResult<nlohmann::ordered_json> CountTokens(const Host& host, const nlohmann::json& body,
                                              std::string_view text);
/// {"content" or "prompt" or "messages", "add_special", "with_pieces"} → {"tokens", "count"}
ApiResult<nlohmann::ordered_json> Tokenize(const Host& host, const nlohmann::json& body);
/// {"tokens"} → {"content"}
ApiResult<nlohmann::ordered_json> Detokenize(const Host& host, const nlohmann::json& body);
/// {"messages"} → {"prompt", "tokens", "format"}
ApiResult<nlohmann::ordered_json> ApplyTemplate(const Host& host, const nlohmann::json& body);

nlohmann::ordered_json ModelJson(const Host& host, const std::string& name);
nlohmann::ordered_json ModelsJson(const Host& host);

}  // namespace octet
