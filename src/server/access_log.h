// One line of JSON a request.
#pragma once

#include <string>

#include "server/http_types.h"

namespace octet {

/// Never holds what was asked or answered, nor a query, where clients may put secrets.
std::string AccessLogLine(const HttpRequest& request, const RequestRecord& record, double seconds);

}  // namespace octet
