// What can go wrong because of input, and how it is passed on. Part of the public facade.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace octet {

enum class ErrorCode {
  kInvalidArgument,  // a flag, option or request that cannot be honoured
  kNotFound,         // a file, tensor or model that is not there
  kIo,               // the operating system refused a read or write
  kCorrupt,          // a file that contradicts itself or its format
  kUnsupported,      // valid, but nothing here handles it
  kOutOfMemory,      // more memory asked for than the machine or the limit has
  kCancelled,        // stopped on request
  kInternal,         // a bug or a third party's exception
};

/// The stable, lower-case name of a code ("corrupt"), as printed in JSON and by the C ABI.
std::string_view ErrorCodeName(ErrorCode code);

/// What, where, expected, got, and what to do, in one sentence: no trailing full stop or newline.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

/// Either a T or the Error that explains why there is none.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

using Status = Result<void>;

/// `return Err(ErrorCode::kCorrupt, "{}: header says {} bytes, file has {}", path, want, got);`
template <class... Args>
tl::unexpected<Error> Err(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

}  // namespace octet

#define OCTET_CONCAT_INNER(a, b) a##b
#define OCTET_CONCAT(a, b) OCTET_CONCAT_INNER(a, b)

/// Returns from the calling function with the error of `expr`, if it has one.
#define OCTET_TRY(expr)                                                        \
  do {                                                                         \
    if (auto octet_status_ = (expr); !octet_status_) {                         \
      return tl::unexpected<::octet::Error>(std::move(octet_status_).error()); \
    }                                                                          \
  } while (0)

/// `OCTET_ASSIGN(auto file, MappedFile::Open(path));` binds the value or returns the error.
#define OCTET_ASSIGN(decl, expr) \
  OCTET_ASSIGN_IMPL(OCTET_CONCAT(octet_result_, __LINE__), decl, expr)
#define OCTET_ASSIGN_IMPL(tmp, decl, expr)                                 \
  auto tmp = (expr);                                                       \
  if (!tmp) return tl::unexpected<::octet::Error>(std::move(tmp).error()); \
  decl = *std::move(tmp)
