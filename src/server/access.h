// Who may ask: keys, and pages in a browser of the same machine.
#pragma once

#include "server/api_error.h"
#include "server/host.h"
#include "server/http_types.h"

namespace octet {

/// Refuses a page of another site, which a browser would let ask in its user's name, and names of
/// this machine that somebody else gave it (DNS rebinding).
ApiResult<void> CheckOrigin(const Host& host, const HttpRequest& request);
/// Sets the record's key and client: the name of its key, or its key's place in the list; its
/// address stays where no key is asked for or sent. Faults: no key, a wrong key.
ApiResult<void> CheckKey(const Host& host, const HttpRequest& request, RequestRecord& record);

}  // namespace octet
