#include "server/access.h"

#include <fmt/format.h>

namespace octet {
namespace {

/// "localhost", "127.0.0.1:8080", "[::1]:8080" …
bool IsLoopbackName(std::string_view host) {
  if (host.starts_with("[::1]")) return true;
  const std::string_view name = host.substr(0, host.find(':'));
  return name == "localhost" || (name.starts_with("127.") &&
                                 name.find_first_not_of("0123456789.") == std::string_view::npos);
}

/// Takes as long for a wrong key as for a nearly right one.
bool SameSecret(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    const char other = b.empty() ? '\0' : b[i % b.size()];
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(other);
  }
  return difference == 0;
}

std::string_view SentSecret(const HttpRequest& request) {
  const std::string_view authorization = request.Header("authorization");
  constexpr std::string_view kBearer = "bearer ";
  const bool is_bearer =
      authorization.size() > kBearer.size() &&
      std::equal(kBearer.begin(), kBearer.end(), authorization.begin(),
                 [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b); });
  return is_bearer ? authorization.substr(kBearer.size()) : request.Header("x-api-key");
}

}  // namespace

ApiResult<void> CheckOrigin(const Host& host, const HttpRequest& request) {
  const std::string_view name = request.Header("host"), origin = request.Header("origin");
  if (host.only_loopback && !host.needs_key && !name.empty() && !IsLoopbackName(name)) {
    return tl::unexpected(
        ApiError{403, fmt::format("this server answers as localhost alone, not as \"{}\"", name)});
  }
  const bool is_own =
      origin == fmt::format("http://{}", name) || origin == fmt::format("https://{}", name);
  if (origin.empty() || is_own || origin == host.cors_origin || host.cors_origin == "*") return {};
  return tl::unexpected(
      ApiError{403, fmt::format("pages of {} may not ask this server; --cors allows it", origin)});
}

ApiResult<void> CheckKey(const Host& host, const HttpRequest& request, RequestRecord& record) {
  if (host.api_keys.empty() && host.books == nullptr) return {};
  const std::string_view secret = SentSecret(request);
  if (secret.empty() && !host.needs_key) return {};
  if (secret.empty()) {
    return tl::unexpected(ApiError{
        401, "no API key; send it as \"Authorization: Bearer KEY\" or \"x-api-key: KEY\""});
  }
  size_t found = host.api_keys.size();
  for (size_t i = 0; i < host.api_keys.size(); ++i) {
    if (SameSecret(host.api_keys[i], secret)) found = i;
  }
  if (found < host.api_keys.size()) {
    record.client = fmt::format("key-{}", found + 1);
    return {};
  }
  const auto key = host.books == nullptr ? std::nullopt : host.books->Find(secret);
  if (!key) {
    return tl::unexpected(ApiError{401, "this API key is not known here", "", "invalid_api_key"});
  }
  record.key = key->id;
  record.client = key->name;
  return {};
}

}  // namespace octet
