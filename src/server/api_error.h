// What a client did wrong, or what went wrong for it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "server/http_types.h"

namespace octet {

struct ApiError {
  int status = 400;
  std::string message;
  std::string param = {};  // the field; empty: none
  std::string code = {};   // OpenAI's short name for the reason; empty: none
  std::vector<std::pair<std::string, std::string>> headers = {};  // of the answer
};

template <class T>
using ApiResult = tl::expected<T, ApiError>;

/// {"error": {"message", "type", "param", "code"}}, as OpenAI's clients read it.
nlohmann::ordered_json OpenAiError(const ApiError& error);
/// {"type": "error", "error": {"type", "message"}}, as Anthropic's clients read it.
nlohmann::ordered_json AnthropicError(const ApiError& error);

/// Compact, with what is not UTF-8 replaced.
std::string Dump(const nlohmann::ordered_json& json);

/// With Retry-After where trying again makes sense: a second, unless the error says when.
HttpResponse ErrorResponse(const ApiError& error, bool anthropic = false);

}  // namespace octet
