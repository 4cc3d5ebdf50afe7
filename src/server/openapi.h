// The server's interface as an OpenAPI document.
#pragma once

#include <string_view>

namespace octet {

/// OpenAPI 3.1, JSON. Schemas of answers are closed: what an answer holds is in them.
std::string_view OpenApiDocument();

}  // namespace octet
