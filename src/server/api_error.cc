#include "server/api_error.h"

#include <algorithm>

namespace octet {
namespace {

const char* OpenAiType(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    default:
      return status < 500 ? "invalid_request_error" : "server_error";
  }
}

const char* AnthropicType(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    default:
      return status < 500 ? "invalid_request_error" : "api_error";
  }
}

nlohmann::ordered_json OrNull(const std::string& text) {
  return text.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(text);
}

}  // namespace

nlohmann::ordered_json OpenAiError(const ApiError& e) {
  return {{"error",
           {{"message", e.message},
            {"type", OpenAiType(e.status)},
            {"param", OrNull(e.param)},
            {"code", OrNull(e.code)}}}};
}

nlohmann::ordered_json AnthropicError(const ApiError& e) {
  return {{"type", "error"},
          {"error", {{"type", AnthropicType(e.status)}, {"message", e.message}}}};
}

std::string Dump(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

HttpResponse ErrorResponse(const ApiError& error, bool anthropic) {
  HttpResponse response;
  response.status = error.status;
  response.body = Dump(anthropic ? AnthropicError(error) : OpenAiError(error)) + "\n";
  response.headers = error.headers;
  const bool says_when = std::ranges::any_of(
      error.headers, [](const auto& header) { return header.first == "retry-after"; });
  if ((error.status == 429 || error.status == 503) && !says_when) {
    response.headers.emplace_back("retry-after", "1");
  }
  return response;
}

}  // namespace octet
