// CHECK is for bugs: an invariant that no input may break. Input errors are Results
// (octet/error.h).
#pragma once

namespace octet::internal {
[[noreturn]] void CheckFailed(const char* file, int line, const char* expression);
}  // namespace octet::internal

/// Ends the program with file, line and the expression when `cond` is false. Always on.
#define CHECK(cond) \
  (static_cast<bool>(cond) ? (void)0 : ::octet::internal::CheckFailed(__FILE__, __LINE__, #cond))
