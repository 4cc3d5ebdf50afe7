// Who may ask: keys, and pages in a browser of the same machine.
#pragma once

#include "server/api_error.h"
#include "server/host.h"
#include "server/http_types.h"

namespace octet {

/// Refuses a page of another site, which a browser would let ask in its user's name, and names of
/// this machine that somebody else gave it (DNS rebinding).
ApiResult<void> CheckOrigin(const Host& host, const HttpRequest& request);
/// The client's name for fairness and the log: its key's place in the list, or `address` where no
/// keys are asked for. Faults: no key, a wrong key.
ApiResult<std::string> CheckKey(const Host& host, const HttpRequest& request,
                                const std::string& address);

}  // namespace octet
