#include "terminal.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace octet::app {
namespace {

// A handler can reach nothing but a global.
volatile sig_atomic_t interrupted = 0;

void OnInterrupt(int) { interrupted = 1; }

void Install() {
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  // The default comes back after one: who presses twice wants out now.
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
}

}  // namespace

Status WriteOut(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) {
    return {};
  }
  return Err(ErrorCode::kIo, "cannot write to standard output: {}", std::strerror(errno));
}

bool StdinIsTerminal() { return isatty(STDIN_FILENO) == 1; }
bool StdoutIsTerminal() { return isatty(STDOUT_FILENO) == 1; }

InterruptFlag::InterruptFlag() {
  interrupted = 0;
  Install();
}

InterruptFlag::~InterruptFlag() { signal(SIGINT, SIG_DFL); }

bool InterruptFlag::raised() const { return interrupted != 0; }

void InterruptFlag::Clear() {
  interrupted = 0;
  Install();
}

}  // namespace octet::app
