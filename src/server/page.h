// The page for people: files made from web/ and put into the program when it is built.
#pragma once

#include "server/http_types.h"

namespace octet {

/// One of the page's files: the request's path is "/" or one of the others that routes.cc names.
/// Without a page in this program "/" says how to get one.
HttpResponse PageResponse(const HttpRequest& request);

}  // namespace octet
