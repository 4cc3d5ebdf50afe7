#include "server/http_connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "server/api_error.h"

namespace octet {
namespace {

using Clock = std::chrono::steady_clock;
using boost::system::error_code;

/// Bytes of a next request that are read while one is being answered.
constexpr size_t kMostAhead = 64 << 10;
/// Bytes that wait for a client that reads slowly, before it is given up.
constexpr size_t kMostUnsent = 8 << 20;

/// An event that clients pass over.
constexpr std::string_view kSilence = ": keep-alive\n\n";

/// A client's own id, where it is harmless to repeat.
bool IsSaneId(std::string_view id) {
  return !id.empty() && id.size() <= 64 && std::ranges::all_of(id, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_';
  });
}

}  // namespace

/// Lives as long as somebody may still answer; what comes after the connection's end is dropped.
class HttpConnection::Turnaround : public Exchange {
 public:
  Turnaround(std::shared_ptr<HttpConnection> connection, HttpRequest request)
      : connection_(std::move(connection)), request_(std::move(request)) {
    HttpShared& shared = *connection_->shared_;
    const std::string_view own = request_.Header("x-request-id");
    record_.id = IsSaneId(own) ? std::string(own)
                               : fmt::format("{:012x}{:06x}", shared.run_id & 0xffffffffffff,
                                             ++shared.next_request);
    record_.client = connection_->address_;
  }

  const HttpRequest& request() const override { return request_; }
  RequestRecord& record() override { return record_; }

  void Respond(HttpResponse response) override {
    if (done_) return;
    std::string out = Head(response);
    constexpr int kNotModified = 304;  // whose length would be that of what was not sent
    out += response.status == kNotModified
               ? "\r\n"
               : fmt::format("content-length: {}\r\n\r\n", response.body.size());
    if (request_.method != "HEAD") out += response.body;
    connection_->Send(out);
    Done();
  }
  void BeginStream(HttpResponse head) override {
    if (done_) return;
    chunked_ = !request_.http_1_0;
    if (!chunked_) request_.keep_alive = false;
    streaming_ = true;
    connection_->Send(Head(head) + (chunked_ ? "transfer-encoding: chunked\r\n\r\n" : "\r\n"));
    connection_->Arm(connection_->shared_->options.keep_alive_every, &HttpConnection::KeepAlive);
  }
  void Write(std::string_view piece) override {
    if (done_ || piece.empty()) return;
    last_write_ = Clock::now();
    connection_->Send(Framed(piece));
  }
  void EndStream(std::string_view last) override {
    if (done_) return;
    std::string out = last.empty() ? std::string() : Framed(last);
    if (chunked_) out += "0\r\n\r\n";
    connection_->Send(out);
    Done();
  }
  void OnGone(std::function<void()> callback) override {
    if (gone_) return callback();
    if (!done_) on_gone_ = std::move(callback);
  }

  void Gone() {
    if (done_) return;
    gone_ = true;
    if (record_.status == 0) record_.status = 499;  // as nginx logs it
    if (auto callback = std::exchange(on_gone_, nullptr)) callback();
    Done();
  }
  /// What a client that listens passes over: an event without data, or a status before the answer's
  /// own, which clients of HTTP/1.0 do not know.
  void Probe() {
    if (done_) return;
    if (streaming_) return Write(kSilence);
    if (record_.status == 0 && !request_.http_1_0)
      connection_->Send("HTTP/1.1 100 Continue\r\n\r\n");
  }
  bool keep_alive() const { return request_.keep_alive; }
  bool streaming() const { return streaming_; }
  Clock::time_point last_write() const { return last_write_; }

 private:
  std::string Framed(std::string_view piece) const {
    return chunked_ ? fmt::format("{:x}\r\n{}\r\n", piece.size(), piece) : std::string(piece);
  }
  std::string Head(const HttpResponse& response) {
    record_.status = response.status;
    const HttpShared& shared = *connection_->shared_;
    if (shared.closing) request_.keep_alive = false;
    std::string head =
        fmt::format("HTTP/1.1 {} {}\r\ncontent-type: {}\r\nx-request-id: {}\r\n", response.status,
                    HttpReason(response.status), response.content_type, record_.id);
    for (const auto& [name, value] : response.headers) {
      head += fmt::format("{}: {}\r\n", name, value);
    }
    if (!shared.options.cors_origin.empty()) {
      head += fmt::format("access-control-allow-origin: {}\r\nvary: origin\r\n",
                          shared.options.cors_origin);
    }
    if (!request_.keep_alive) {
      head += "connection: close\r\n";
    } else if (request_.http_1_0) {
      head += "connection: keep-alive\r\n";
    }
    return head;
  }
  void Done() {
    done_ = true;
    on_gone_ = nullptr;
    const std::chrono::duration<double> seconds = Clock::now() - start_;
    if (connection_->shared_->log) connection_->shared_->log(request_, record_, seconds.count());
    if (!gone_) connection_->Finished();
    connection_.reset();
  }

  std::shared_ptr<HttpConnection> connection_;  // null once it is answered
  HttpRequest request_;
  RequestRecord record_;
  std::function<void()> on_gone_;
  bool chunked_ = false, streaming_ = false, done_ = false, gone_ = false;
  Clock::time_point start_ = Clock::now(), last_write_ = start_;
};

HttpConnection::HttpConnection(Socket socket, std::shared_ptr<HttpShared> shared)
    : socket_(std::move(socket), shared->options.tls),
      shared_(std::move(shared)),
      timer_(socket_.get_executor()),
      write_timer_(socket_.get_executor()),
      parser_(std::make_unique<HttpParser>(shared_->options.limits)) {
  ++shared_->connections;
  address_ = socket_.Address();
  error_code ignored;
  socket_.tcp().set_option(boost::asio::ip::tcp::no_delay(true), ignored);
}

HttpConnection::~HttpConnection() { --shared_->connections; }

void HttpConnection::Start() {
  Arm(shared_->options.header_timeout, &HttpConnection::OnTimeout);
  socket_.Handshake(
      [self = shared_from_this()](error_code error) { error ? self->OnGone() : self->Read(); });
}

void HttpConnection::Arm(Milliseconds after, void (HttpConnection::*then)()) {
  timer_.expires_after(after);
  timer_.async_wait([self = shared_from_this(), then](error_code error) {
    if (!error) ((*self).*then)();
  });
}

void HttpConnection::Read() {
  if (reading_ || gone_ || (read_ended_ && !lingering_)) return;
  if (input_.size() >= kMostAhead + shared_->options.limits.header_bytes) {
    return;
  }
  reading_ = true;
  socket_.ReadSome(boost::asio::buffer(chunk_),
                   [self = shared_from_this()](error_code error, size_t bytes) {
                     self->reading_ = false;
                     if (!error) return self->OnRead(bytes);
                     error == boost::asio::error::eof ? self->OnReadEnd() : self->OnGone();
                   });
}

void HttpConnection::OnRead(size_t bytes) {
  if (lingering_) return Read();  // what a refused client still sends is dropped
  const bool first = input_.empty() && !answering_;
  input_.append(chunk_.data(), bytes);
  if (first && !parser_->has_header()) {
    Arm(shared_->options.header_timeout, &HttpConnection::OnTimeout);
  }
  if (!answering_) Parse();
  Read();
}

/// The client sends no more. It may have gone, or wait for what it asked (shutdown(SHUT_WR)): which
/// of the two shows only when something is sent to it, so something is that says nothing.
void HttpConnection::OnReadEnd() {
  if (!answering_ || lingering_) return OnGone();
  read_ended_ = true;
  socket_.tcp().async_wait(Socket::wait_error, [self = shared_from_this()](error_code error) {
    if (!error) self->OnGone();
  });
  if (const auto current = current_.lock()) current->Probe();
}

/// The client closed its side, or the connection broke.
void HttpConnection::OnGone() {
  if (gone_) return;
  gone_ = true;
  timer_.cancel();
  write_timer_.cancel();
  if (const auto current = current_.lock()) current->Gone();
  socket_.Close();
}

void HttpConnection::Parse() {
  const bool had_header = parser_->has_header();
  switch (parser_->Feed(input_)) {
    case HttpParser::State::kDone:
      return Dispatch();
    case HttpParser::State::kError:
      return Turn(parser_->error_status(), parser_->error());
    case HttpParser::State::kNeedsMore:
      break;
  }
  if (parser_->has_header() && !had_header) {
    Arm(shared_->options.body_timeout, &HttpConnection::OnTimeout);
  }
  if (parser_->expects_continue() && !sent_continue_) {
    sent_continue_ = true;
    Send("HTTP/1.1 100 Continue\r\n\r\n");
  }
}

void HttpConnection::Dispatch() {
  timer_.cancel();
  answering_ = true;
  auto turn = std::make_shared<Turnaround>(shared_from_this(), parser_->Take());
  current_ = turn;
  parser_ = std::make_unique<HttpParser>(shared_->options.limits);
  sent_continue_ = false;
  shared_->handler(turn);
}

void HttpConnection::Turn(int status, const std::string& why) {
  const std::string body = Dump(OpenAiError({status, why})) + "\n";
  Send(
      fmt::format("HTTP/1.1 {} {}\r\ncontent-type: application/json\r\nconnection: close\r\n"
                  "content-length: {}\r\n\r\n{}",
                  status, HttpReason(status), body.size(), body));
  answering_ = true;  // nothing more is parsed
  CloseWhenWritten();
}

void HttpConnection::CloseWhenWritten() {
  close_after_write_ = true;
  if (!writing_) LingerAndClose();
}

void HttpConnection::Finished() {
  const auto current = current_.lock();
  const bool keep = current && current->keep_alive() && !shared_->closing;
  current_.reset();
  timer_.cancel();
  if (!keep) return CloseWhenWritten();
  // From here, as the next request's answer may come at once, and so on without end.
  boost::asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->answering_ = false;
    if (self->gone_) return;
    self->Arm(self->input_.empty() ? self->shared_->options.idle_timeout
                                   : self->shared_->options.header_timeout,
              &HttpConnection::OnTimeout);
    if (!self->input_.empty()) self->Parse();
    if (self->read_ended_ && !self->answering_) return self->CloseWhenWritten();
    self->Read();
  });
}

void HttpConnection::Send(std::string_view bytes) {
  if (gone_) return;
  // One answer may be larger; a stream that nobody reads may not grow for ever.
  if (out_.size() > kMostUnsent) {
    // From outside of the caller, who is in the middle of writing.
    boost::asio::post(socket_.get_executor(), [self = shared_from_this()] { self->OnGone(); });
    return;
  }
  out_ += bytes;
  if (!writing_) Flush();
}

/// What the system takes at once, which is nearly always all, needs neither timer nor callback.
void HttpConnection::Flush() {
  error_code failed;
  out_.erase(0, socket_.WriteNow(boost::asio::buffer(out_), failed));
  if (failed) {
    boost::asio::post(socket_.get_executor(), [self = shared_from_this()] { self->OnGone(); });
    return;
  }
  if (out_.empty()) return;
  writing_ = true;
  in_flight_.swap(out_);
  out_.clear();
  write_timer_.expires_after(shared_->options.write_timeout);
  write_timer_.async_wait([self = shared_from_this()](error_code error) {
    if (!error) self->OnGone();
  });
  socket_.WriteAll(boost::asio::buffer(in_flight_), [self = shared_from_this()](error_code error) {
    error ? self->OnGone() : self->OnWritten();
  });
}

void HttpConnection::OnWritten() {
  writing_ = false;
  write_timer_.cancel();
  in_flight_.clear();
  if (!out_.empty()) Flush();
  if (!writing_ && close_after_write_) LingerAndClose();
}

/// Closing while the client still sends would reset the connection and might take the answer with
/// it: so what it sends is read and dropped for a while.
void HttpConnection::LingerAndClose() {
  if (gone_ || lingering_) return;
  lingering_ = true;
  socket_.ShutdownSend([self = shared_from_this()] {});
  constexpr Milliseconds kLinger{2000};
  Arm(kLinger, &HttpConnection::OnGone);
  Read();
}

/// A request that does not come, or not to its end.
void HttpConnection::OnTimeout() {
  if (gone_ || answering_) return;
  const bool begun = !input_.empty() || parser_->has_header();
  begun ? Turn(408, "the request took too long to arrive") : OnGone();
}

void HttpConnection::KeepAlive() {
  const auto current = current_.lock();
  if (gone_ || !current || !current->streaming()) return;
  const auto every = shared_->options.keep_alive_every;
  if (Clock::now() - current->last_write() >= every) current->Write(kSilence);
  Arm(every, &HttpConnection::KeepAlive);
}

void HttpConnection::CloseIfIdle() {
  if (!answering_) OnGone();
}

void HttpConnection::Close() { OnGone(); }

}  // namespace octet
