// What run and chat need of the terminal: output that notices when nobody reads, and Ctrl-C.
#pragma once

#include <string_view>

#include "octet/error.h"

namespace octet::app {

/// Writes to stdout and flushes. kIo when that fails (a full disk, a reader that went away).
Status WriteOut(std::string_view text);

bool StdinIsTerminal();
bool StdoutIsTerminal();

/// While it lives, Ctrl-C sets a flag instead of ending the program; a second Ctrl-C before Clear()
/// ends it at once.
class InterruptFlag {
 public:
  InterruptFlag();
  ~InterruptFlag();
  InterruptFlag(const InterruptFlag&) = delete;
  InterruptFlag& operator=(const InterruptFlag&) = delete;

  bool raised() const;
  void Clear();
};

}  // namespace octet::app
