#include "server/http_socket.h"

#include <openssl/err.h>

#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <filesystem>

namespace octet {
namespace {

namespace ssl = boost::asio::ssl;

Status CheckReadable(const std::string& path, const char* what) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      std::fopen(path.c_str(), "r"), [](std::FILE* f) { return f ? std::fclose(f) : 0; });
  std::error_code ignored;
  if (file && !std::filesystem::is_directory(path, ignored)) return {};
  return Err(ErrorCode::kNotFound, "cannot read the TLS {} {}", what, path);
}

}  // namespace

struct TlsContext {
  ssl::context context{ssl::context::tls_server};
};

Result<std::shared_ptr<TlsContext>> LoadTls(const std::string& certificate,
                                            const std::string& key) {
  OCTET_TRY(CheckReadable(certificate, "certificate"));
  OCTET_TRY(CheckReadable(key, "key"));
  auto tls = std::make_shared<TlsContext>();
  ssl::context& context = tls->context;
  SSL_CTX* native = context.native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_options(
      native, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  HttpSocket::Error error;
  // Nobody is there to type a password.
  context.set_password_callback([](size_t, ssl::context::password_purpose) { return ""; }, error);
  context.use_certificate_chain_file(certificate, error);
  if (error) {
    return Err(ErrorCode::kCorrupt, "{} is not a certificate in PEM: {}", certificate,
               error.message());
  }
  // A key of another certificate is refused here too.
  context.use_private_key_file(key, ssl::context::pem, error);
  if (error) {
    return Err(ErrorCode::kCorrupt,
               "{} is not the certificate's key in PEM, without a password: {}", key,
               error.message());
  }
  return tls;
}

struct HttpSocket::Tls {
  std::shared_ptr<TlsContext> context;
  ssl::stream<Tcp> stream;
};

HttpSocket::HttpSocket(Tcp socket, std::shared_ptr<TlsContext> tls) {
  if (tls == nullptr) {
    plain_ = std::make_unique<Tcp>(std::move(socket));
    Error ignored;  // then WriteNow would wait
    plain_->non_blocking(true, ignored);
  } else {
    ssl::context& context = tls->context;
    tls_.reset(new Tls{std::move(tls), ssl::stream<Tcp>(std::move(socket), context)});
  }
}

HttpSocket::~HttpSocket() = default;

HttpSocket::Tcp& HttpSocket::tcp() { return tls_ ? tls_->stream.next_layer() : *plain_; }

std::string HttpSocket::Address() {
  Error ignored;
  return tcp().remote_endpoint(ignored).address().to_string();
}

void HttpSocket::Handshake(std::function<void(Error)> done) {
  if (!tls_) return done({});
  tls_->stream.async_handshake(ssl::stream_base::server, std::move(done));
}

void HttpSocket::ReadSome(boost::asio::mutable_buffer buffer,
                          std::function<void(Error, size_t)> done) {
  if (tls_) return tls_->stream.async_read_some(buffer, std::move(done));
  plain_->async_read_some(buffer, std::move(done));
}

size_t HttpSocket::WriteNow(boost::asio::const_buffer buffer, Error& error) {
  if (tls_) return 0;
  const size_t written = plain_->write_some(buffer, error);
  if (error == boost::asio::error::would_block) error = {};
  return written;
}

void HttpSocket::WriteAll(boost::asio::const_buffer buffer, std::function<void(Error)> done) {
  auto wrote = [done = std::move(done)](Error error, size_t) { done(error); };
  if (tls_) return boost::asio::async_write(tls_->stream, buffer, std::move(wrote));
  boost::asio::async_write(*plain_, buffer, std::move(wrote));
}

void HttpSocket::ShutdownSend(std::function<void()> done) {
  if (tls_) return tls_->stream.async_shutdown([done = std::move(done)](Error) { done(); });
  Error ignored;
  plain_->shutdown(Tcp::shutdown_send, ignored);
  boost::asio::post(get_executor(), std::move(done));
}

void HttpSocket::Close() {
  Error ignored;
  tcp().close(ignored);
}

}  // namespace octet
