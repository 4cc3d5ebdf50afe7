// A client's bytes: as they are, or through TLS.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"

namespace octet {

/// The server's certificate and key, read once.
struct TlsContext;
/// `certificate`: PEM, the server's own first, then those that vouch for it. TLS 1.2 and later.
/// Errors name the file and what is wrong with it.
Result<std::shared_ptr<TlsContext>> LoadTls(const std::string& certificate, const std::string& key);

/// One thread's. What it is given (handlers and what they refer to) keeps its owner alive.
class HttpSocket {
 public:
  using Tcp = boost::asio::ip::tcp::socket;
  using Error = boost::system::error_code;

  /// `tls` null: none.
  HttpSocket(Tcp socket, std::shared_ptr<TlsContext> tls);
  ~HttpSocket();

  /// Until it is done there is nothing to read or write; of a plain socket it is at once.
  void Handshake(std::function<void(Error)> done);
  void ReadSome(boost::asio::mutable_buffer buffer, std::function<void(Error, size_t)> done);
  /// Writes what fits without waiting; how much. Nothing through TLS.
  size_t WriteNow(boost::asio::const_buffer buffer, Error& error);
  void WriteAll(boost::asio::const_buffer buffer, std::function<void(Error)> done);
  /// Tells the client that nothing more comes; `done` may be called late or with an error.
  void ShutdownSend(std::function<void()> done);
  void Close();

  Tcp& tcp();
  std::string Address();
  boost::asio::any_io_executor get_executor() { return tcp().get_executor(); }

 private:
  struct Tls;
  std::unique_ptr<Tcp> plain_;
  std::unique_ptr<Tls> tls_;  // one of the two
};

}  // namespace octet
