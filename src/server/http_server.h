// Sockets: accepts connections, reads requests, writes answers. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "server/http_parser.h"
#include "server/http_types.h"

namespace octet {

struct TlsContext;

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;  // 0: any that is free
  int64_t max_connections = 1024;
  HttpLimits limits;
  std::chrono::milliseconds header_timeout{10'000};  // from the first byte of a request
  std::chrono::milliseconds body_timeout{60'000};
  std::chrono::milliseconds idle_timeout{75'000};  // between requests
  std::chrono::milliseconds write_timeout{60'000};
  std::chrono::milliseconds keep_alive_every{15'000};  // of a stream that is silent
  std::string cors_origin;                             // empty: none
  std::shared_ptr<TlsContext> tls = nullptr;           // null: none
};

using RequestHandler = std::function<void(const std::shared_ptr<Exchange>&)>;
/// Hears of every request that was answered, or given up by its client.
using RequestLog = std::function<void(const HttpRequest&, const RequestRecord&, double seconds)>;

class HttpServer {
 public:
  /// Listens. Errors name the address and what the system says.
  static Result<std::unique_ptr<HttpServer>> Listen(const HttpServerOptions& options,
                                                    RequestHandler handler, RequestLog log);
  ~HttpServer();

  uint16_t port() const;
  const std::string& host() const;
  /// Serves until Stop(); the thread that calls it is the server's.
  void Run();
  /// Any thread. No new connections, and none is kept for another request.
  void StopAccepting();
  /// Any thread. Closes what is open; Run returns.
  void Stop();
  /// Any thread: runs a function on the server's.
  void Post(std::function<void()> task);
  /// The same at the next Post or Wake: many functions, and the server's thread is woken once.
  void PostQuietly(std::function<void()> task);
  void Wake();
  /// Of the server's thread.
  int64_t connections() const;
  /// Of the server's thread: what connections that come from now on use. Not null, and only where
  /// there was one.
  void ReplaceTls(std::shared_ptr<TlsContext> tls);

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Whether a host's name or address means this machine alone.
bool IsLoopback(const std::string& host);

}  // namespace octet
