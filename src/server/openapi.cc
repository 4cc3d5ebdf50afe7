#include "server/openapi.h"

#include <cstddef>

// Defined by openapi_data.S.
extern "C" {
extern const char octet_openapi_begin[];
extern const char octet_openapi_end[];
}

namespace octet {

std::string_view OpenApiDocument() {
  return {octet_openapi_begin, static_cast<size_t>(octet_openapi_end - octet_openapi_begin)};
}

}  // namespace octet
