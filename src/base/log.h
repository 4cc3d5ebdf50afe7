// Diagnostics for people, on stderr. Results never go through here.
#pragma once

#include <spdlog/spdlog.h>

namespace octet {

/// One-time set-up: plain "warning: …" lines on stderr; `level` is trace|debug|info|warn|error|off.
/// Unknown names leave the level as it is and return false.
bool SetUpLogging(const char* level);

}  // namespace octet
