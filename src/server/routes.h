// Which request goes where, and who may ask.
#pragma once

#include <memory>

#include "server/host.h"
#include "server/http_types.h"

namespace octet {

/// Answers one request, now or later.
void HandleRequest(Host& host, const std::shared_ptr<Exchange>& exchange);
/// The path as the metrics name it: one of the server's, or "other".
std::string_view KnownPath(std::string_view path);

}  // namespace octet
