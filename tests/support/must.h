// The value that a test cannot go on without.
#pragma once

#include <stdexcept>
#include <utility>

#include "base/result.h"

namespace octet::testing {

/// The value of a result; throws its message otherwise, which fails the test.
template <class T>
T Must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return *std::move(result);
}

}  // namespace octet::testing
