#include "api/load_stream.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

namespace octet {
namespace {

using Clock = LoadAnswer::Clock;

/// A number at the beginning of `text`; nothing when there is none.
std::optional<size_t> NumberOf(std::string_view text, int base) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

}  // namespace

Result<LoadUrl> ParseLoadUrl(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  const auto fault = [&] {
    return Err(ErrorCode::kInvalidArgument, "{} is no address like http://127.0.0.1:8080", url);
  };
  if (!url.starts_with(kScheme)) return fault();
  LoadUrl target;
  std::string rest = url.substr(kScheme.size());
  if (const size_t slash = rest.find('/'); slash != std::string::npos) {
    target.path = rest.substr(slash);
    while (target.path.ends_with('/')) target.path.pop_back();
    if (target.path.ends_with("/v1")) target.path.resize(target.path.size() - 3);
    rest.resize(slash);
  }
  const size_t colon = rest.rfind(':');
  const bool has_port = colon != std::string::npos && rest.find(']', colon) == std::string::npos;
  target.host = has_port ? rest.substr(0, colon) : rest;
  target.port = has_port ? rest.substr(colon + 1) : "80";
  if (target.host.starts_with('[') && target.host.ends_with(']')) {
    target.host = target.host.substr(1, target.host.size() - 2);
  }
  if (target.host.empty() || !NumberOf(target.port, 10)) return fault();
  return target;
}

bool LoadStream::Connect() {
  addrinfo hints = {}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(target_.host.c_str(), target_.port.c_str(), &hints, &found) != 0) return false;
  for (const addrinfo* at = found; at != nullptr && socket_ < 0; at = at->ai_next) {
    socket_ = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
    if (socket_ >= 0 && connect(socket_, at->ai_addr, at->ai_addrlen) != 0) Close();
  }
  freeaddrinfo(found);
  if (socket_ < 0) return false;
  const int on = 1;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return true;
}

void LoadStream::Close() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
}

bool LoadStream::Begin(const std::string& body) {
  answer_ = {};
  input_.clear();
  events_.clear();
  has_head_ = complete_ = keep_ = false;
  std::string request = fmt::format(
      "POST {}/v1/chat/completions HTTP/1.1\r\nHost: {}:{}\r\nContent-Type: "
      "application/json\r\n{}Content-Length: {}\r\n\r\n{}",
      target_.path, target_.host, target_.port,
      target_.api_key.empty() ? "" : fmt::format("Authorization: Bearer {}\r\n", target_.api_key),
      body.size(), body);
  if (socket_ < 0 && !Connect()) return false;
  answer_.sent = last_byte_ = Clock::now();
  for (std::string_view rest = request; !rest.empty();) {
    const ssize_t n = send(socket_, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n <= 0) return Close(), false;
    rest.remove_prefix(static_cast<size_t>(n));
  }
  answering_ = true;
  return true;
}

std::optional<LoadAnswer> LoadStream::Fail(std::string kind) {
  Close();
  answering_ = false;
  answer_.error = std::move(kind);
  return std::exchange(answer_, {});
}

std::optional<LoadAnswer> LoadStream::Read() {
  char bytes[16 << 10];
  const ssize_t n = recv(socket_, bytes, sizeof bytes, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  if (n <= 0) return Fail("connection lost");
  last_byte_ = Clock::now();
  input_.append(bytes, static_cast<size_t>(n));
  if (!has_head_) {
    const size_t end = input_.find("\r\n\r\n");
    if (end == std::string::npos) return std::nullopt;
    const std::string head = input_.substr(0, end + 2);
    status_ = static_cast<int>(
        NumberOf(std::string_view(head).substr(std::min<size_t>(9, head.size())), 10).value_or(0));
    constexpr int kOk = 200;
    if (status_ != kOk) return Fail(fmt::format("HTTP {}", status_));
    keep_ = head.find("connection: close") == std::string::npos &&
            head.find("Connection: close") == std::string::npos;
    if (head.find("chunked") == std::string::npos) return Fail("not a stream");
    input_.erase(0, end + 4);
    has_head_ = true;
  }
  if (!TakeChunks()) return Fail("not HTTP");
  TakeEvents();
  if (!answer_.error.empty()) return Fail(answer_.error);
  return complete_ ? Finish() : std::nullopt;
}

bool LoadStream::TakeChunks() {
  size_t at = 0;
  while (true) {
    const size_t line = input_.find("\r\n", at);
    if (line == std::string::npos) break;
    const auto size = NumberOf(std::string_view(input_).substr(at, line - at), 16);
    if (!size) return false;
    if (input_.size() < line + 2 + *size + 2) break;
    if (*size == 0) complete_ = true;
    events_.append(input_, line + 2, *size);
    at = line + 2 + *size + 2;
  }
  input_.erase(0, at);
  return true;
}

void LoadStream::TakeEvents() {
  constexpr std::string_view kData = "data: ";
  size_t at = 0;
  for (size_t end = 0; (end = events_.find("\n\n", at)) != std::string::npos; at = end + 2) {
    const std::string_view event = std::string_view(events_).substr(at, end - at);
    if (event.starts_with(kData)) TakeEvent(event.substr(kData.size()));
  }
  events_.erase(0, at);
}

/// Only the last event is read as JSON: the client shall not take the server's time.
void LoadStream::TakeEvent(std::string_view data) {
  constexpr std::string_view kContent = "\"content\":";
  if (data.find("\"usage\":{") != std::string_view::npos) {
    const auto json = nlohmann::json::parse(data, nullptr, false);
    if (json.is_discarded() || !json["usage"].is_object()) return;
    answer_.tokens = json["usage"].value("completion_tokens", int64_t{0});
    answer_.prompt_tokens = json["usage"].value("prompt_tokens", int64_t{0});
    return;
  }
  if (data.starts_with("{\"error\"")) {
    answer_.error = "error in the stream";
    return;
  }
  const size_t content = data.find(kContent);
  if (content == std::string_view::npos) return;
  const std::string_view value = data.substr(content + kContent.size());
  if (value.starts_with("\"\"") || value.starts_with(" \"\"") || value.starts_with("null")) return;
  if (answer_.pieces++ == 0) {
    answer_.first = last_byte_;
  } else {
    answer_.gaps.push_back(std::chrono::duration<float>(last_byte_ - answer_.last).count());
  }
  answer_.last = last_byte_;
}

std::optional<LoadAnswer> LoadStream::Finish() {
  if (answer_.pieces == 0) return Fail("no text");
  if (answer_.tokens == 0) answer_.tokens = answer_.pieces;  // a server without usage
  if (!keep_) Close();
  answering_ = false;
  return std::exchange(answer_, {});
}

}  // namespace octet
