// Bytes to HTTP requests, with limits; knows no sockets.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "server/http_types.h"

namespace octet {

struct HttpLimits {
  uint32_t header_bytes = 16 << 10;
  uint64_t body_bytes = 4 << 20;
};

class HttpParser {
 public:
  enum class State { kNeedsMore, kDone, kError };

  explicit HttpParser(const HttpLimits& limits);
  ~HttpParser();

  /// Takes what belongs to this request from the front of `bytes`; what stays is the next one's, or
  /// a header that is not whole yet.
  State Feed(std::string& bytes);
  bool has_header() const;
  /// The client waits for a sign before it sends the body.
  bool expects_continue() const;
  /// After kDone.
  HttpRequest Take();
  /// After kError: the status to answer with, and why.
  int error_status() const { return error_status_; }
  const std::string& error() const { return error_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  int error_status_ = 0;
  std::string error_;
};

/// The standard's words for a status code.
std::string_view HttpReason(int status);

}  // namespace octet
