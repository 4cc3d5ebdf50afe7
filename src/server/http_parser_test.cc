#include "server/http_parser.h"

#include <gtest/gtest.h>

namespace octet {
namespace {

using State = HttpParser::State;

HttpLimits SmallLimits() {
  HttpLimits limits;
  limits.header_bytes = 256;
  limits.body_bytes = 64;
  return limits;
}

/// The status with which these bytes are turned away; 0 for a request or one that needs more.
int ErrorOf(std::string bytes) {
  HttpParser parser(SmallLimits());
  return parser.Feed(bytes) == State::kError ? parser.error_status() : 0;
}

TEST(HttpParser, ReadsARequestHoweverItIsCut) {
  const std::string whole =
      "POST /v1/x?y=1 HTTP/1.1\r\nHost: a\r\nX-Request-ID: q\r\nContent-Length: 4\r\n\r\nbody";
  for (size_t cut = 1; cut <= whole.size(); ++cut) {
    HttpParser parser(SmallLimits());
    std::string bytes;
    State state = State::kNeedsMore;
    for (size_t at = 0; at < whole.size(); at += cut) {
      bytes += whole.substr(at, cut);
      state = parser.Feed(bytes);
    }
    ASSERT_EQ(state, State::kDone) << cut;
    const HttpRequest request = parser.Take();
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.path, "/v1/x");
    EXPECT_EQ(request.query, "y=1");
    EXPECT_EQ(request.Header("x-request-id"), "q");
    EXPECT_EQ(request.body, "body");
    EXPECT_TRUE(request.keep_alive);
  }
}

TEST(HttpParser, LeavesTheNextRequestInPlace) {
  HttpParser parser(SmallLimits());
  std::string bytes = "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n";
  ASSERT_EQ(parser.Feed(bytes), State::kDone);
  EXPECT_EQ(parser.Take().path, "/a");
  EXPECT_EQ(bytes, "GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
}

TEST(HttpParser, ReadsChunkedBodiesAndOldVersions) {
  HttpParser parser(SmallLimits());
  std::string bytes =
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
  ASSERT_EQ(parser.Feed(bytes), State::kDone);
  EXPECT_EQ(parser.Take().body, "abcde");
  HttpParser old(SmallLimits());
  bytes = "GET / HTTP/1.0\r\n\r\n";
  ASSERT_EQ(old.Feed(bytes), State::kDone);
  const HttpRequest request = old.Take();
  EXPECT_TRUE(request.http_1_0);
  EXPECT_FALSE(request.keep_alive);
}

TEST(HttpParser, TakesTheHostFromAnAbsoluteTarget) {
  const auto read = [](std::string bytes) {
    HttpParser parser(SmallLimits());
    EXPECT_EQ(parser.Feed(bytes), State::kDone);
    return parser.Take();
  };
  const HttpRequest whole = read("GET HTTP://a.example:80/b?c HTTP/1.1\r\nHost: d\r\n\r\n");
  EXPECT_EQ(whole.path, "/b");
  EXPECT_EQ(whole.query, "c");
  EXPECT_EQ(whole.Header("host"), "a.example:80");
  EXPECT_EQ(whole.headers.size(), 1U);
  const HttpRequest bare = read("GET https://a?c HTTP/1.1\r\n\r\n");
  EXPECT_EQ(bare.path, "/");
  EXPECT_EQ(bare.query, "c");
  EXPECT_EQ(bare.Header("host"), "a");
  const HttpRequest none = read("GET http:///b HTTP/1.1\r\nHost: d\r\n\r\n");
  EXPECT_EQ(none.path, "http:///b");
  EXPECT_EQ(none.Header("host"), "d");
}

TEST(HttpParser, SeesAClientThatWaitsToSendItsBody) {
  HttpParser parser(SmallLimits());
  std::string bytes = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
  ASSERT_EQ(parser.Feed(bytes), State::kNeedsMore);
  EXPECT_TRUE(parser.expects_continue());
  bytes = "ab";
  EXPECT_EQ(parser.Feed(bytes), State::kDone);
}

TEST(HttpParser, TurnsAwayWhatIsTooLargeOrNoRequest) {
  EXPECT_EQ(ErrorOf("POST / HTTP/1.1\r\nContent-Length: 65\r\n\r\n"), 413);
  EXPECT_EQ(ErrorOf("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n" +
                    std::string(65, 'a') + "\r\n0\r\n\r\n"),
            413);
  EXPECT_EQ(ErrorOf("GET /" + std::string(300, 'a') + " HTTP/1.1\r\n\r\n"), 431);
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\nA: " + std::string(300, 'a')), 431);
  EXPECT_EQ(ErrorOf("\x16\x03\x01 TLS, not HTTP\r\n\r\n"), 400);
  EXPECT_EQ(ErrorOf("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 400);
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), 400);
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400);
  EXPECT_EQ(ErrorOf("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            400);
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\nbad header\r\n\r\n"), 400);
}

}  // namespace
}  // namespace octet
