// The server's sockets against clients that are slow, sly, or gone; timeouts are short here.
#include "server/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <future>
#include <thread>
#include <vector>

#include "server/http_socket.h"
#include "support/http_client.h"
#include "support/temp_folder.h"

namespace octet {
namespace {

using std::chrono::milliseconds;
using testing::HttpClient;
using testing::HttpReply;

/// Echoes bodies.
class EchoServer {
 public:
  explicit EchoServer(HttpServerOptions options = {}) {
    options.port = 0;
    options.header_timeout = milliseconds(300);
    options.body_timeout = milliseconds(600);
    options.idle_timeout = milliseconds(900);
    options.write_timeout = milliseconds(600);
    options.limits.body_bytes = 10'000;
    auto answer = [this](const std::shared_ptr<Exchange>& exchange) {
      const std::string& path = exchange->request().path;
      HttpResponse response;
      if (path == "/never" || path == "/stream") {
        // Kept by its own callback until the client is gone.
        exchange->OnGone([this, exchange] { ++gone_; });
        if (path == "/stream") exchange->BeginStream({});
        return;
      }
      response.body = exchange->request().body;
      if (path == "/much") response.body.assign(64 << 20, 'x');
      if (path != "/later") return exchange->Respond(std::move(response));
      later_.emplace_back([this, exchange, response] {
        std::this_thread::sleep_for(milliseconds(50));
        server_->Post([exchange, response] { exchange->Respond(response); });
      });
    };
    auto server = HttpServer::Listen(options, answer, {});
    EXPECT_TRUE(server) << server.error().message;
    server_ = *std::move(server);
    thread_ = std::jthread([this] { server_->Run(); });
  }
  ~EchoServer() { server_->Stop(); }
  uint16_t port() const { return server_->port(); }
  int64_t gone() const { return gone_; }
  /// Waits until all connections but `left` are closed.
  bool Empties(int64_t left = 0) {
    for (int i = 0; i < 1000; ++i) {
      std::promise<int64_t> count;
      server_->Post([&] { count.set_value(server_->connections()); });
      if (count.get_future().get() <= left) return true;
      std::this_thread::sleep_for(milliseconds(10));
    }
    return false;
  }
  /// Waits until so many clients went away before their answer. A connection that ended may not
  /// even be accepted yet, so that none being open says nothing.
  bool Loses(int64_t clients) {
    for (int i = 0; i < 1000 && gone_ < clients; ++i) std::this_thread::sleep_for(milliseconds(10));
    return gone_ == clients;
  }

 private:
  std::unique_ptr<HttpServer> server_;
  std::atomic<int64_t> gone_ = 0;
  std::vector<std::jthread> later_;
  std::jthread thread_;
};

std::string Request(const std::string& id, const std::string& body = {}) {
  return testing::PostRequest("/echo", body, "X-Request-Id: " + id + "\r\n");
}

TEST(HttpServer, GivesUpHeadersAndBodiesThatDribble) {
  EchoServer server;
  for (const std::string begin : {"", "POST / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n"}) {
    HttpClient slow(server.port());
    slow.Send(begin);
    std::jthread sender([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        slow.Send(begin.empty() ? "G" : "x");
        std::this_thread::sleep_for(milliseconds(20));
      }
    });
    EXPECT_EQ(testing::Post(server.port(), "/echo", "quick").body, "quick") << "others go on";
    EXPECT_EQ(slow.Read().status, 408);
  }
  EXPECT_TRUE(server.Empties());
}

TEST(HttpServer, ClosesConnectionsThatSayNothing) {
  EchoServer server;
  HttpClient silent(server.port());
  EXPECT_EQ(silent.Read().status, 0);
  HttpClient idle(server.port());
  idle.Send(Request("one", "1"));
  EXPECT_EQ(idle.Read().body, "1");
  EXPECT_EQ(idle.Read().status, 0) << "closed after a while";
  EXPECT_TRUE(server.Empties());
}

TEST(HttpServer, ClosesHalfOpenConnections) {
  EchoServer server;
  for (const char* part :
       {"", "POST /echo HT", "POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"}) {
    HttpClient client(server.port());
    client.Send(part);
    client.HalfClose();
    EXPECT_EQ(client.Read().status, 0) << part;
  }
  EXPECT_TRUE(server.Empties());
}

TEST(HttpServer, AnswersClientsThatCloseTheirSideAfterAWholeRequest) {
  EchoServer server;
  for (const char* path : {"/echo", "/later"}) {
    HttpClient client(server.port());
    client.Send(testing::PostRequest(path, "one") + testing::PostRequest(path, "two"));
    client.HalfClose();
    EXPECT_EQ(client.Read().body, "one") << path;
    EXPECT_EQ(client.Read().body, "two") << path;
    EXPECT_EQ(client.Read().status, 0) << "then the connection ends";
  }
  HttpClient old(server.port());
  old.Send("POST /later HTTP/1.0\r\nContent-Length: 3\r\n\r\nold");
  old.HalfClose();
  EXPECT_EQ(old.Read().body, "old");
  EXPECT_TRUE(server.Empties());
}

TEST(HttpServer, NoticesClientsThatCloseWhileTheyWait) {
  EchoServer server;
  for (const char* path : {"/never", "/stream"}) {
    const int64_t before = server.gone();
    {
      HttpClient client(server.port());
      client.Send(testing::PostRequest(path, "x"));
      if (path == std::string_view("/stream")) {
        ASSERT_TRUE(client.ReadUntil("200 OK"));
      }
    }
    EXPECT_TRUE(server.Loses(before + 1)) << path;
    EXPECT_TRUE(server.Empties()) << path;
  }
}

TEST(HttpServer, GivesUpClientsThatDoNotRead) {
  EchoServer server;
  HttpClient client(server.port());
  client.Send(testing::PostRequest("/much", "x"));
  ASSERT_TRUE(client.ReadUntil("200 OK"));
  EXPECT_TRUE(server.Empties());
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  EchoServer server;
  HttpClient client(server.port());
  std::string all;
  constexpr int kRequests = 300;  // more than is read ahead
  for (int i = 0; i < kRequests; ++i) {
    all += Request("n" + std::to_string(i), std::string(static_cast<size_t>(i), 'b'));
  }
  std::jthread sender([&] { client.Send(all); });
  for (int i = 0; i < kRequests; ++i) {
    const HttpReply reply = client.Read();
    ASSERT_EQ(reply.Header("x-request-id"), "n" + std::to_string(i));
    ASSERT_EQ(reply.body.size(), static_cast<size_t>(i));
  }
}

TEST(HttpServer, RefusesWhatIsNoRequestAndCloses) {
  EchoServer server;
  const std::string post = "POST /echo HTTP/1.1\r\nHost: localhost\r\n";
  const std::pair<std::string, int> cases[] = {
      {"\r\n\r\n\r\n\r\n", 400},
      {"GET\r\n\r\n", 400},
      {"GET / HTTP/9.9\r\n\r\n", 400},
      {std::string("GET /\0 HTTP/1.1\r\n\r\n", 19), 400},
      {"GET /a b HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400},
      {post + "Content-Length: -1\r\n\r\n", 400},
      {post + "Content-Length: 0x10\r\n\r\n", 400},
      {post + "Content-Length: 99999999999999999999999\r\n\r\n", 400},
      {post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", 400},
      {post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
      {post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 400},
      {post + "Content-Length: 10001\r\n\r\n", 413},
      {post + "Content-Length: 18446744073709551615\r\n\r\n", 413},
      {post + "Transfer-Encoding: chunked\r\n\r\n2711\r\n" + std::string(10'001, 'x') + "\r\n",
       413},
      {"GET /" + std::string(20'000, 'a') + " HTTP/1.1\r\n\r\n", 431},
      {"GET / HTTP/1.1\r\nX: " + std::string(20'000, 'a') + "\r\n\r\n", 431},
  };
  for (const auto& [bytes, status] : cases) {
    HttpClient client(server.port());
    client.Send(bytes);
    const HttpReply reply = client.Read();
    EXPECT_EQ(reply.status, status) << bytes.substr(0, 100);
    EXPECT_NE(reply.body.find("\"error\""), std::string::npos) << bytes.substr(0, 100);
    EXPECT_EQ(client.Read().status, 0) << "nothing that follows is taken for a request";
  }
  EXPECT_EQ(testing::Post(server.port(), "/echo", std::string(10'000, 'x')).status, 200);
}

TEST(HttpServer, SurvivesClientsThatVanishAtAnyMoment) {
  EchoServer server;
  const std::string bytes = Request("x", std::string(300, 'b'));
  for (size_t n = 0; n < bytes.size(); n += 3) {
    HttpClient client(server.port());
    client.Send(bytes.substr(0, n));
    if (n % 2 == 0) client.Reset();
  }
  EXPECT_TRUE(server.Empties());
  EXPECT_EQ(testing::Post(server.port(), "/echo", "still").body, "still");
}

TEST(HttpServer, RefusesMoreConnectionsThanItMayHave) {
  HttpServerOptions options;
  options.max_connections = 3;
  EchoServer server(options);
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server.port()));
    clients.back()->Send(Request("x", "1"));
    EXPECT_EQ(clients.back()->Read().status, 200);
  }
  HttpClient another(server.port());
  EXPECT_EQ(another.Read().status, 503);
  clients.clear();
  EXPECT_TRUE(server.Empties());
  EXPECT_EQ(testing::Post(server.port(), "/echo", "1").status, 200);
}

TEST(HttpServer, ClosesTlsClientsThatDoNotShakeHands) {
  const testing::TempFolder folder;
  const std::string key = folder / "key", certificate = folder / "certificate";
  const std::string make =
      "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -days 2 -keyout " + key + " -out " +
      certificate + " 2>/dev/null";
  if (std::system(make.c_str()) != 0) GTEST_SKIP() << "no openssl";
  HttpServerOptions options;
  auto tls = LoadTls(certificate, key);
  ASSERT_TRUE(tls) << tls.error().message;
  options.tls = *tls;
  EchoServer server(options);
  HttpClient silent(server.port()), plain(server.port());
  plain.Send(Request("x", "1"));
  EXPECT_EQ(plain.Read().status, 0);
  EXPECT_EQ(silent.Read().status, 0);
  EXPECT_TRUE(server.Empties());
}

}  // namespace
}  // namespace octet
