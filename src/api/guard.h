// Where exceptions of third parties (the standard library's allocation, json, sentencepiece) become
// errors: nothing throws out of the facade but the caller's own callback.
#pragma once

#include <exception>
#include <new>
#include <type_traits>
#include <utility>

#include "base/result.h"

namespace octet {

/// Calls fn(), which returns a Result, and turns an exception into its error.
template <class F>
auto Guarded(F&& fn) -> std::invoke_result_t<F> {
  try {
    return std::forward<F>(fn)();
  } catch (const std::bad_alloc&) {
    return Err(ErrorCode::kOutOfMemory, "out of memory; use a smaller model or context");
  } catch (const std::exception& error) {
    return Err(ErrorCode::kInternal, "{}", error.what());
  }
}

}  // namespace octet
