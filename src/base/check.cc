#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace octet::internal {

void CheckFailed(const char* file, int line, const char* expression) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\nThis is a bug in Octet, please report it.\n", file,
               line, expression);
  std::abort();
}

}  // namespace octet::internal
