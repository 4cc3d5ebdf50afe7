// Ctrl-C for commands that write files: stop where the work can be continued.
#pragma once

#include <atomic>

namespace octet::app {

/// From now on the first SIGINT or SIGTERM sets the returned flag, and a second one ends the
/// program.
const std::atomic<bool>& StopOnSignal();

}  // namespace octet::app
