#include "server/http_server.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <mutex>
#include <random>
#include <vector>

#include "server/http_connection.h"

namespace octet {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Tcp = asio::ip::tcp;

Result<Tcp::endpoint> Resolve(asio::io_context& context, const std::string& host, uint16_t port) {
  error_code error;
  Tcp::resolver resolver(context);
  const auto found = resolver.resolve(host, std::to_string(port), Tcp::resolver::passive, error);
  if (error || found.empty()) {
    return Err(ErrorCode::kInvalidArgument, "cannot listen on \"{}\": {}", host, error.message());
  }
  return found.begin()->endpoint();
}

}  // namespace

struct HttpServer::Impl {
  asio::io_context context{1};
  Tcp::acceptor acceptor{context};
  asio::steady_timer retry{context};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  std::shared_ptr<HttpShared> shared = std::make_shared<HttpShared>();
  std::vector<std::weak_ptr<HttpConnection>> open;
  uint16_t port = 0;
  std::mutex mutex;  // guards what follows
  std::vector<std::function<void()>> posted;

  void RunPosted();
  Status Open();
  void Accept();
  void Welcome(Tcp::socket socket);
  void ForEach(void (HttpConnection::*what)());
};

Status HttpServer::Impl::Open() {
  const HttpServerOptions& o = shared->options;
  OCTET_ASSIGN(const Tcp::endpoint endpoint, Resolve(context, o.host, o.port));
  error_code error;
  const auto failed = [&] { return static_cast<bool>(error); };
  acceptor.open(endpoint.protocol(), error);
  if (!failed()) acceptor.set_option(Tcp::acceptor::reuse_address(true), error);
  if (!failed()) acceptor.bind(endpoint, error);
  if (!failed()) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (!failed()) port = acceptor.local_endpoint(error).port();
  if (!failed()) return {};
  return Err(ErrorCode::kIo, "cannot listen on {} port {}: {}", o.host, o.port, error.message());
}

void HttpServer::Impl::Accept() {
  acceptor.async_accept([this](error_code error, Tcp::socket socket) {
    if (!acceptor.is_open()) return;
    if (!error) {
      Welcome(std::move(socket));
      return Accept();
    }
    // Out of descriptors, most likely: some come back when connections end.
    retry.expires_after(std::chrono::milliseconds(100));
    retry.async_wait([this](error_code cancelled) {
      if (!cancelled && acceptor.is_open()) Accept();
    });
  });
}

void HttpServer::Impl::Welcome(Tcp::socket socket) {
  const bool full = shared->connections >= shared->options.max_connections;
  const auto connection = std::make_shared<HttpConnection>(std::move(socket), shared);
  std::erase_if(open, [](const auto& weak) { return weak.expired(); });
  open.push_back(connection);
  // What it would be told cannot be said before a handshake.
  if (full && shared->options.tls) return connection->Close();
  if (full) return connection->Turn(503, "too many connections; try later");
  connection->Start();
}

void HttpServer::Impl::ForEach(void (HttpConnection::*what)()) {
  for (const auto& weak : open) {
    if (const auto connection = weak.lock()) ((*connection).*what)();
  }
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::Listen(const HttpServerOptions& options,
                                                       RequestHandler handler, RequestLog log) {
  auto impl = std::make_unique<Impl>();
  impl->shared->options = options;
  impl->shared->handler = std::move(handler);
  impl->shared->log = std::move(log);
  std::random_device random;
  impl->shared->run_id = uint64_t{random()} << 32 | random();
  OCTET_TRY(impl->Open());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

uint16_t HttpServer::port() const { return impl_->port; }

void HttpServer::Run() {
  impl_->Accept();
  impl_->context.run();
}

void HttpServer::StopAccepting() {
  Post([impl = impl_.get()] {
    error_code ignored;
    impl->acceptor.close(ignored);
    impl->shared->closing = true;
    impl->ForEach(&HttpConnection::CloseIfIdle);
  });
}

void HttpServer::Stop() {
  Post([impl = impl_.get()] {
    error_code ignored;
    impl->acceptor.close(ignored);
    impl->ForEach(&HttpConnection::Close);
    impl->work.reset();
    impl->context.stop();
  });
}

void HttpServer::Post(std::function<void()> task) {
  PostQuietly(std::move(task));
  Wake();
}

void HttpServer::PostQuietly(std::function<void()> task) {
  Impl& impl = *impl_;
  const std::lock_guard lock(impl.mutex);
  impl.posted.push_back(std::move(task));
}

void HttpServer::Wake() {
  Impl& impl = *impl_;
  asio::post(impl.context, [&impl] { impl.RunPosted(); });
}

void HttpServer::Impl::RunPosted() {
  std::vector<std::function<void()>> tasks;
  {
    const std::lock_guard lock(mutex);
    tasks.swap(posted);
  }
  for (const auto& task : tasks) task();
}

const std::string& HttpServer::host() const { return impl_->shared->options.host; }

void HttpServer::ReplaceTls(std::shared_ptr<TlsContext> tls) {
  impl_->shared->options.tls = std::move(tls);
}

int64_t HttpServer::connections() const { return impl_->shared->connections; }

bool IsLoopback(const std::string& host) {
  if (host == "localhost") return true;
  error_code error;
  const auto address = asio::ip::make_address(host, error);
  return !error && address.is_loopback();
}

}  // namespace octet
