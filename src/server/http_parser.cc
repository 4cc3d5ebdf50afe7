#include "server/http_parser.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

namespace octet {
namespace {

namespace http = boost::beast::http;

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  return lower;
}

template <class View>
std::string Text(const View& view) {
  return std::string(view.data(), view.size());
}

/// The part of an absolute target that names the server, cut off `target`; empty where the target
/// is of another form, and stays as it is.
std::string TakeAuthority(std::string& target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (Lower(std::string_view(target).substr(0, scheme.size())) != scheme) continue;
    const size_t end = std::min(target.find_first_of("/?", scheme.size()), target.size());
    std::string authority = target.substr(scheme.size(), end - scheme.size());
    if (authority.empty()) return authority;
    target.erase(0, end);
    if (!target.starts_with('/')) target.insert(0, 1, '/');
    return authority;
  }
  return {};
}

}  // namespace

struct HttpParser::Impl {
  http::request_parser<http::string_body> parser;
};

HttpParser::HttpParser(const HttpLimits& limits) : impl_(std::make_unique<Impl>()) {
  impl_->parser.header_limit(limits.header_bytes);
  impl_->parser.body_limit(limits.body_bytes);
  impl_->parser.eager(true);
}

HttpParser::~HttpParser() = default;

HttpParser::State HttpParser::Feed(std::string& bytes) {
  auto& parser = impl_->parser;
  while (!parser.is_done()) {
    if (bytes.empty()) return State::kNeedsMore;
    boost::system::error_code error;
    const size_t taken = parser.put(boost::asio::buffer(bytes), error);
    bytes.erase(0, taken);
    if (error == http::error::need_more) return State::kNeedsMore;
    if (!error) continue;
    error_status_ = error == http::error::header_limit ? 431
                    : error == http::error::body_limit ? 413
                                                       : 400;
    error_ = error == http::error::header_limit ? "the header is too large"
             : error == http::error::body_limit ? "the body is too large"
                                                : "not an HTTP request: " + error.message();
    return State::kError;
  }
  return State::kDone;
}

bool HttpParser::has_header() const { return impl_->parser.is_header_done(); }

bool HttpParser::expects_continue() const {
  if (!has_header() || impl_->parser.is_done()) return false;
  return Lower(Text(impl_->parser.get()[http::field::expect])) == "100-continue";
}

HttpRequest HttpParser::Take() {
  auto message = impl_->parser.release();
  HttpRequest request;
  request.method = Text(message.method_string());
  std::string target = Text(message.target());
  // Takes the place of the Host header (RFC 9112, 3.2.2).
  if (const std::string host = TakeAuthority(target); !host.empty())
    message.set(http::field::host, host);
  const size_t mark = target.find('?');
  request.path = target.substr(0, mark);
  if (mark != std::string::npos) request.query = target.substr(mark + 1);
  for (const auto& field : message) {
    request.headers.emplace_back(Lower(Text(field.name_string())), Text(field.value()));
  }
  request.keep_alive = message.keep_alive();
  request.http_1_0 = message.version() < 11;
  request.body = std::move(message.body());
  return request;
}

std::string_view HttpReason(int status) {
  const auto reason = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)));
  return {reason.data(), reason.size()};
}

}  // namespace octet
