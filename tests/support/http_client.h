// A client that sends exactly the bytes it is told, and may vanish at any moment.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace octet::testing {

struct HttpReply {
  int status = 0;  // 0: the connection ended without an answer
  std::string head, body;

  std::string Header(const std::string& name) const {
    const size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

class HttpClient {
 public:
  explicit HttpClient(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience = {60, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("cannot connect");
    }
  }
  ~HttpClient() { close(socket_); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  void Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;  // the server may well have closed
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  void HalfClose() { shutdown(socket_, SHUT_WR); }
  /// Closing now resets the connection, as a crash does.
  void Reset() {
    const linger now = {1, 0};
    setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  /// Reads at least until `mark` was seen; false when the connection ended before.
  bool ReadUntil(std::string_view mark) {
    while (bytes_.find(mark) == std::string::npos) {
      if (!ReadSome()) return false;
    }
    return true;
  }
  /// One answer, whole, its chunks put together.
  HttpReply Read() {
    HttpReply reply;
    do {
      if (!ReadUntil("\r\n\r\n")) return reply;
      const size_t end = bytes_.find("\r\n\r\n") + 4;
      reply.head = bytes_.substr(0, end);
      bytes_.erase(0, end);
      reply.status = std::atoi(reply.head.c_str() + reply.head.find(' '));
    } while (reply.status == 100);
    if (reply.Header("transfer-encoding") == "chunked") {
      ReadChunks(reply.body);
    } else {
      const auto length = static_cast<size_t>(std::atoll(reply.Header("content-length").c_str()));
      while (bytes_.size() < length && ReadSome()) {
      }
      reply.body = bytes_.substr(0, length);
      bytes_.erase(0, length);
    }
    return reply;
  }

 private:
  bool ReadSome() {
    char chunk[16384];
    const ssize_t n = recv(socket_, chunk, sizeof chunk, 0);
    if (n > 0) bytes_.append(chunk, static_cast<size_t>(n));
    return n > 0;
  }
  void ReadChunks(std::string& out) {
    while (ReadUntil("\r\n")) {
      const size_t length = std::strtoul(bytes_.c_str(), nullptr, 16);
      const size_t begin = bytes_.find("\r\n") + 2;
      while (bytes_.size() < begin + length + 2) {
        if (!ReadSome()) return;
      }
      out += bytes_.substr(begin, length);
      bytes_.erase(0, begin + length + 2);
      if (length == 0) return;
    }
  }

  int socket_;
  std::string bytes_;
};

inline std::string PostRequest(const std::string& path, const std::string& body,
                               const std::string& headers = {}) {
  return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
         headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

inline HttpReply Post(uint16_t port, const std::string& path, const std::string& body,
                      const std::string& headers = {}) {
  HttpClient client(port);
  client.Send(PostRequest(path, body, headers));
  return client.Read();
}

inline HttpReply Get(uint16_t port, const std::string& path, const std::string& headers = {}) {
  HttpClient client(port);
  client.Send("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n");
  return client.Read();
}

}  // namespace octet::testing
