// Which request goes where, and who may ask.
#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "server/host.h"
#include "server/http_types.h"

namespace octet {

/// Answers one request, now or later.
void HandleRequest(Host& host, const std::shared_ptr<Exchange>& exchange);
/// Every method and path there is, beside GET /v1/models/{model}.
std::vector<std::pair<std::string_view, std::string_view>> KnownRoutes();
/// The path as the metrics name it: one of the server's, or "other".
std::string_view KnownPath(std::string_view path);

}  // namespace octet
