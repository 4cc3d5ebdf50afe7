#include "stop_signal.h"

#include <csignal>

namespace octet::app {
namespace {

std::atomic<bool> stopped = false;
static_assert(std::atomic<bool>::is_always_lock_free);  // so that a signal handler may set it

}  // namespace

const std::atomic<bool>& StopOnSignal() {
  const auto handler = [](int signal) {
    stopped = true;
    std::signal(signal, SIG_DFL);
  };
  std::signal(SIGINT, handler);
  std::signal(SIGTERM, handler);
  return stopped;
}

}  // namespace octet::app
