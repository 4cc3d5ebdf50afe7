// One client's socket: reads requests one after another and writes their answers.
#pragma once

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <string>

#include "server/http_server.h"
#include "server/http_socket.h"

namespace octet {

/// What connections share; of the server's thread.
struct HttpShared {
  HttpServerOptions options;
  RequestHandler handler;
  RequestLog log;
  int64_t connections = 0;
  bool closing = false;  // no connection is kept for another request
  uint64_t next_request = 0;
  uint64_t run_id = 0;  // random: ids of requests differ from run to run
};

class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  using Socket = HttpSocket::Tcp;
  HttpConnection(Socket socket, std::shared_ptr<HttpShared> shared);
  ~HttpConnection();

  void Start();
  /// Closes it unless a request is being answered.
  void CloseIfIdle();
  void Close();
  /// An answer without a request: too many connections.
  void Turn(int status, const std::string& why);

 private:
  class Turnaround;  // one request's Exchange
  using Milliseconds = std::chrono::milliseconds;

  void Read();
  void OnRead(size_t bytes);
  void OnReadEnd();
  void OnGone();
  void Parse();
  void Dispatch();
  void Send(std::string_view bytes);
  void Flush();
  void OnWritten();
  void Finished();  // the answer is handed to Send
  void Arm(Milliseconds after, void (HttpConnection::*then)());
  void OnTimeout();
  void KeepAlive();
  void CloseWhenWritten();
  void LingerAndClose();

  HttpSocket socket_;
  std::shared_ptr<HttpShared> shared_;
  boost::asio::steady_timer timer_, write_timer_;
  std::string address_;
  std::array<char, 16 << 10> chunk_;
  std::string input_;
  std::unique_ptr<HttpParser> parser_;
  std::string out_, in_flight_;
  std::weak_ptr<Turnaround> current_;  // while a request is being answered
  bool answering_ = false;
  bool reading_ = false, writing_ = false;
  bool sent_continue_ = false;
  bool read_ended_ = false;  // the client sends no more
  bool close_after_write_ = false, lingering_ = false, gone_ = false;
};

}  // namespace octet
